"""The smallest eps of each image."""

from __future__ import annotations

from advdpnp.report.radius_table import radius_table
from advdpnp.report.read import Result
from advdpnp.report.sections.section import Section


def smallest_eps_section(groups: list[list[Result]]) -> list[Section]:
    """The part on the smallest eps, where a result has any: it is no gap where none has."""
    tables = [table for table in map(radius_table, groups) if table is not None]
    text = "How large a perturbation must be, image by image, as far as a search for the nearest one has found out."
    return [Section("smallest-eps", "The smallest eps of each image", text, [], tables)] if tables else []
