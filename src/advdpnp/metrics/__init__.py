"""Metrics: accuracies from stored verdicts, and the geometry of features and class centers."""

from advdpnp.metrics.accuracy import mcnemar, pack, unpack, wilson, worst_case
from advdpnp.metrics.geometry import (
    FDR,
    afs,
    fdr,
    mean_pairwise_angle_degrees,
    mean_separation_degrees,
    min_separation_degrees,
    scr,
    scr_floor,
)

__all__ = [
    "FDR",
    "afs",
    "fdr",
    "mcnemar",
    "mean_pairwise_angle_degrees",
    "mean_separation_degrees",
    "min_separation_degrees",
    "pack",
    "scr",
    "scr_floor",
    "unpack",
    "wilson",
    "worst_case",
]
