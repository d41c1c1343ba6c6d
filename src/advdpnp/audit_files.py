"""Files of masking audits, in the folder of a run's evaluations: what they are called, and how they are read."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advdpnp.ranges import eps_text
from advdpnp.runs import Run, checked

AUDIT = "audit"


def audit_name(norm: str, eps: float, usual: float | None) -> str:
    """What an audit is called: audit, with what is not usual behind it, as a suite's result is.

    Args:
        norm: "linf" or "l2".
        eps: its radius.
        usual: the usual radius in this norm; None where there is none.
    """
    name = AUDIT if norm == "linf" else f"{AUDIT}-{norm}"
    return name if eps == usual else f"{name}-eps-{eps_text(eps).replace('/', '-')}"


def is_audit(path: Path) -> bool:
    """Whether a file of a run's eval folder is an audit, not an evaluation."""
    return path.stem == AUDIT or path.name.startswith((f"{AUDIT}-", f"{AUDIT}@"))


def without_audits(folder: Path) -> list[Path]:
    """The JSON files of a run's eval folder that are no audits, sorted."""
    return [path for path in sorted(folder.glob("*.json")) if not is_audit(path)]


@dataclass(frozen=True)
class StoredAudit:
    """What is stored of one audit.

    Args:
        name: of its file, without the suffix.
        norm, eps: the ball, as in "linf" and "8/255".
        n: images.
        verdict, conclusion: in words.
        checks: name, verdict, measured, expected and advice of each.
        shares: clean accuracy, and what PGD-20 and all attacks leave, as fractions of n; without attacks there is less.
        content: all that the file holds.
    """

    name: str
    norm: str
    eps: str
    n: int
    verdict: str
    conclusion: str
    checks: list[dict[str, Any]]
    shares: dict[str, float]
    content: dict[str, Any]


def stored_audits(run: Run) -> list[StoredAudit]:
    """The audits of a run, by the names of their files.

    Raises:
        ValueError: a file is damaged, or of another version.
    """
    paths = [path for path in sorted(run.eval_path("").glob("*.json")) if is_audit(path)]
    return [
        checked(path, "remove it, and audit again with advdpnp audit", lambda path=path: _read(path)) for path in paths
    ]  # type: ignore[misc]


def _read(path: Path) -> StoredAudit:
    content = json.loads(path.read_text())
    if content["schema"] != 1:
        raise ValueError(f"schema {content['schema']}, this version reads 1")
    checks = [
        {key: str(check[key]) for key in ("name", "verdict", "measured", "expected", "advice")}
        for check in content["checks"]
    ]
    shares = {name: float(content[name]) for name in ("clean", "claimed", "lowest") if name in content}
    words = [str(content[key]) for key in ("norm", "eps")]
    return StoredAudit(
        path.stem,
        *words,
        int(content["n"]),
        str(content["verdict"]),
        str(content["conclusion"]),
        checks,
        shares,
        content,
    )
