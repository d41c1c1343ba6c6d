"""The report: stored results of runs as one self-contained page, CSV, LaTeX and figures."""

from advdpnp.report.page import write_report

__all__ = ["write_report"]
