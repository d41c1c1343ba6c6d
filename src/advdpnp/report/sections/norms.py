"""From linf to other norms."""

from __future__ import annotations

from advdpnp.report.norm_transfer import norm_transfer
from advdpnp.report.read import Result
from advdpnp.report.sections.section import Section


def norms_section(groups: list[list[Result]]) -> list[Section]:
    """The part on other norms, where networks trained against linf were attacked in one; no gap where none was."""
    tables = [table for table in map(norm_transfer, groups) if table is not None]
    text = "Whether robustness learned in one norm carries over to others, as Table 1 of the paper asks."
    return [Section("norms", "From ℓ∞ to other norms", text, [], tables)] if tables else []
