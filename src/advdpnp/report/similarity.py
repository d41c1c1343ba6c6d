"""How alike the class centers of a run are, as its evaluation has stored them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from advdpnp.runs import SIMILARITY, Run, checked

if TYPE_CHECKING:
    import numpy as np


# Cosines that differ by less are the same: orthogonal rows have no nearest rival, but rounding.
_ALIKE, _MOST_RIVALS = 5e-4, 3


@dataclass(frozen=True)
class Similarity:
    """Cosines between class centers (C, C), their norms (C,), and whose they are."""

    cosines: np.ndarray
    norms: np.ndarray
    class_names: list[str]
    checkpoint: str

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
    path = run.eval_path(SIMILARITY)

    def read() -> Similarity:
        import numpy as np

        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            names: list[Any] = stored["class_names"].tolist()
            cosines, norms = stored["cosines"], stored["norms"]
            if cosines.shape != (len(names), len(names)) or norms.shape != (len(names),) or len(names) < 2:
                raise ValueError(f"cosines {cosines.shape} and norms {norms.shape} of {len(names)} classes")
            if not (np.isfinite(cosines).all() and np.isfinite(norms).all()):
                raise ValueError("cosines or norms that are no numbers")
            return Similarity(cosines, norms, [str(name) for name in names], str(stored["checkpoint"]))

    return checked(path, "evaluate the run again", read) if path.is_file() else None
