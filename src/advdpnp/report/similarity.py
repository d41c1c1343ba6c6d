"""How alike the class centers of a run are, as its evaluation has stored them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from advdpnp.report.arrays import Ends, Shapes, StoredArrays, read_arrays
from advdpnp.runs import SIMILARITY, Run

if TYPE_CHECKING:
    import numpy as np


# Cosines that differ by less are the same: orthogonal rows have no nearest rival, but rounding.
_ALIKE, _MOST_RIVALS = 5e-4, 3


@dataclass(frozen=True)
class Similarity(StoredArrays):
    """Cosines between class centers (C, C), their norms (C,), and whose they are."""

    cosines: np.ndarray
    norms: np.ndarray
    checkpoint: str

    def shapes(self) -> Shapes:
        count = len(self.class_names)
        if count < 2:
            raise ValueError(f"cosines between the centers of {count} classes")
        return {"cosines": (count, count), "norms": (count,)}

    def ends(self) -> Ends:
        return {"cosines": (-1.0, 1.0), "norms": (0.0, math.inf)}

    @property
    def between(self) -> np.ndarray:
        """(C, C): the cosines of two different classes; NaN on the diagonal."""
        import numpy as np

        found = self.cosines.astype(float)
        np.fill_diagonal(found, np.nan)
        return found

    @property
    def rivals(self) -> np.ndarray:
        """(C, C) bool: in each row the nearest rival of that class; none where more than three are as near."""
        import numpy as np

        between = self.between
        near = between >= np.nanmax(between, axis=1, keepdims=True) - _ALIKE
        return np.asarray(near & (near.sum(axis=1, keepdims=True) <= _MOST_RIVALS))

    @property
    def nearest(self) -> tuple[str, str, float]:
        """The two classes whose centers are most alike, and their cosine."""
        import numpy as np

        first, second = divmod(int(np.nanargmax(self.between)), len(self.class_names))
        return self.class_names[first], self.class_names[second], float(self.cosines[first, second])


def stored_similarity(run: Run) -> Similarity | None:
    """What a run folder holds; None where nothing is stored.

    Raises:
        ValueError: the file is damaged.
    """
    return read_arrays(run.eval_path(SIMILARITY), Similarity, "evaluate the run again")
