"""The stored rows of a comparison with outside images: kept as they are found, and taken up again."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

from advdpnp import runs
from advdpnp.bounded_files import check_no_folder
from advdpnp.lock import only_process
from advdpnp.ood_results import AcceptRow, OodResult, OutsideRow, ood_path, read_ood, stored_ood
from advdpnp.results import PARTIAL
from advdpnp.runs import Run
from advdpnp.stored_values import differences

Row = OutsideRow | AcceptRow


def only_measurement(run: Run | None) -> AbstractContextManager[None]:
    """Keeps out other processes that would measure the same run against outside images; None stores nothing."""
    path = None if run is None else ood_path(run)
    return nullcontext() if path is None else only_process(path.with_suffix(".lock"), str(path))


class StoredOod:
    """Rows of one result. What a run has of earlier calls stays, where images, network and scores are the same.

    Args:
        run: where it is stored; None stores nothing.
        result: the protocol, without rows but the clean one.
        resume: whether rows that are there are not measured again.
        tell: called with a line on what is there.
    """

    def __init__(self, run: Run | None, result: OodResult, resume: bool, tell: Callable[[str], None]) -> None:
        self._path = None if run is None else ood_path(run)
        self._result, self._resume, self._tell = result, resume, tell
        self._found: dict[str, Row] = {_key(row): row for row in result.accepting}
        self._known: dict[str, Row] = {}
        if run is not None:
            check_no_folder(ood_path(run))
            self._read(stored_ood(run))
        if resume and self._partial is not None and self._partial.is_file():
            path = self._partial
            self._read(runs.checked(path, "remove it", lambda: read_ood(runs.read_json(path))))

    @property
    def _partial(self) -> Path | None:
        return None if self._path is None else self._path.with_name(f"ood{PARTIAL}")

    def _read(self, stored: OodResult | None) -> None:
        if stored is None:
            return
        if differing := "; ".join(differences(stored.protocol, self._result.protocol)):
            self._tell(f"{self._path} is of another measurement ({differing}): the new one replaces it at the end")
            return
        rows: list[Row] = [*stored.accepting, *stored.outside]
        self._known |= {_key(row): row for row in rows}

    def add(
        self, key: str, what: str, measure: Callable[[], Row], same: Callable[[Row], bool] = lambda row: True
    ) -> None:
        """A row, measured unless it is there and a measurement is resumed.

        Args:
            key: `outside_key` or `attack_key`.
            what: in words.
            measure: makes the row.
            same: whether a stored row is of the very same images.
        """
        known = self._known.get(key) if self._resume else None
        if known is not None and same(known):
            self._tell(f"{what}: measured before (without --resume it would be measured again)")
            self._found[key] = known
            return
        self._found[key] = measure()
        if self._partial is not None:
            runs.write_json(self._partial, self._whole().json())

    def finish(self) -> OodResult:
        """The whole, stored in its place."""
        whole = self._whole()
        if self._path is not None and self._partial is not None:
            runs.write_json(self._path, whole.json())
            self._partial.unlink(missing_ok=True)
        return whole

    def _whole(self) -> OodResult:
        rows = [*self._found.values(), *(row for key, row in self._known.items() if key not in self._found)]
        outside = [row for row in rows if isinstance(row, OutsideRow)]
        accepting = [row for row in rows if isinstance(row, AcceptRow)]
        return replace(self._result, outside=outside, accepting=accepting)


def outside_key(name: str) -> str:
    """Of the row of an outside set."""
    return f"outside {name}"


def attack_key(attack: runs.Json | None) -> str:
    """Of the row under an attack, as `advdpnp.attacks.record` has it; None for clean images."""
    return f"attack {attack}"


def _key(row: Row) -> str:
    return outside_key(row.name) if isinstance(row, OutsideRow) else attack_key(row.attack)
