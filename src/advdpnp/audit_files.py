"""Files of masking audits, in the folder of a run's evaluations: what they are called, and how they are read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

from advdpnp.ranges import Count, Natural, NonNegative, Share, eps_text, parse_eps
from advdpnp.result_parts import check_names
from advdpnp.runs import Json, Run, read_shown
from advdpnp.stored_values import check_schema, check_value

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


class _Check(TypedDict):
    name: str
    verdict: Literal["passed", "suspicious", "masked", "refused", "not measured"]
    measured: str
    expected: str
    advice: str


class _AgainstEps(TypedDict):
    eps: list[float]
    accuracy: list[Share]


class _Along(TypedDict):
    shares: list[float]
    along: list[float]
    across: list[float]


class _Audit(TypedDict):
    norm: str
    eps: str
    n: Count
    verdict: Literal["no sign of masking", "suspicious", "masked", "refused"]
    conclusion: str
    checks: list[_Check]
    curves: dict[str, dict[str, Any]]
    clean: NotRequired[Share]
    claimed: NotRequired[Share]
    lowest: NotRequired[Share]
    epoch: NotRequired[Natural | None]
    seconds: NotRequired[NonNegative]


def audit_paths(run: Run) -> list[Path]:
    """The files of a run's audits, sorted."""
    return [path for path in sorted(run.eval_path("").glob("*.json")) if is_audit(path)]


def read_audit(path: Path) -> StoredAudit:
    """One audit.

    Raises:
        ValueError: the file is damaged, or of another version.
    """
    return read_shown(path, "remove it, and audit again with advdpnp audit", lambda content: _read(path.stem, content))


def _read(name: str, content: Json) -> StoredAudit:
    check_schema(content, 1)
    check_value("the audit", content, _Audit)
    _check_curves(content["curves"])
    shares: dict[str, float] = {key: content[key] for key in ("clean", "claimed", "lowest") if key in content}
    parse_eps(content["eps"])
    if list(shares.values()) != sorted(shares.values(), reverse=True):
        raise ValueError("an attack leaves more images than were right before it")
    facts = {key: content[key] for key in ("norm", "eps", "n", "verdict", "conclusion", "checks")}
    return StoredAudit(name=name, **facts, shares=shares, content=content)


def _check_curves(curves: dict[str, Any]) -> None:
    for of, kind in {"eps": _AgainstEps, "along": _Along, "attacks": dict[str, Share]}.items():
        if curve := curves.get(of):
            check_value(of, curve, kind)
            # Two points at least make a curve.
            if of != "attacks" and (len({*map(len, curve.values())}) != 1 or len(next(iter(curve.values()))) < 2):
                raise ValueError(f"the curve {of} has lists of several lengths, or of less than two numbers")
    for name in curves.get("attacks") or {}:
        check_names({"the name of an attack": name}, "the name of an attack")
