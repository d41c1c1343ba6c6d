"""What the files of masking audits are called, in the folder of a run's evaluations."""

from pathlib import Path

from advdpnp.ranges import eps_text

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
