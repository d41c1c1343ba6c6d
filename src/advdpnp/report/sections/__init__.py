"""The parts of the page, one file each, and their order."""

from __future__ import annotations

from advdpnp.report.corruption_tables import corrupted
from advdpnp.report.read import Result, RunResults
from advdpnp.report.sections.accuracy import accuracy_section
from advdpnp.report.sections.audit import audit_section
from advdpnp.report.sections.confusion import confusion_section
from advdpnp.report.sections.corruptions import corruptions_section
from advdpnp.report.sections.curves import curves_section
from advdpnp.report.sections.geometry import geometry_section
from advdpnp.report.sections.images import images_section
from advdpnp.report.sections.norms import norms_section
from advdpnp.report.sections.outside import outside_section
from advdpnp.report.sections.paper import paper_section
from advdpnp.report.sections.plane import plane_section
from advdpnp.report.sections.projection import projection_section
from advdpnp.report.sections.section import Section
from advdpnp.report.sections.similarity import similarity_section
from advdpnp.report.sections.smallest_eps import smallest_eps_section
from advdpnp.report.sections.spread import spread_section
from advdpnp.report.sections.tradeoff import tradeoff_section
from advdpnp.report.sections.training import training_section
from advdpnp.report.tables import Table


def page_sections(runs: list[RunResults], groups: list[list[Result]], tables: list[Table]) -> list[Section]:
    """All parts of the page but the last, in order; those without tables and pictures were not measured.

    Args:
        runs: everything that is reported on.
        groups: their results, those that may be compared together.
        tables: accuracies of the results with attacks.
    """
    # Of networks from elsewhere, neither features nor training are known.
    ours = [run for run in runs if not run.foreign]
    return [
        accuracy_section(runs, tables),
        *paper_section(runs),
        *tradeoff_section(groups),
        *norms_section(groups),
        curves_section(runs),
        *smallest_eps_section(groups),
        *audit_section(runs),
        *corruptions_section(corrupted(groups)),
        *outside_section(runs),
        geometry_section(ours, groups),
        *similarity_section(ours),
        images_section([run for run in runs if not run.foreign or run.samples]),
        *confusion_section(runs),
        plane_section(ours),
        *spread_section(ours),
        *projection_section(ours),
        training_section(ours),
    ]
