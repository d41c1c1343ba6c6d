"""What could not be read."""

from __future__ import annotations

from collections.abc import Sequence

from advdpnp.report.run_files import Unread
from advdpnp.report.sections.section import Section

ANCHOR = "unread"


def unread_section(unread: Sequence[Unread]) -> list[Section]:
    """The part on files and folders that are left out, where there are any."""
    text = "These files and folders are not in the report, for the reason that stands beside each."
    remarks = [(str(one.path), one.reason) for one in unread]
    return [Section(ANCHOR, "What could not be read", text, [], remarks=remarks)] if unread else []
