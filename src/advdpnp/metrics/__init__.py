"""Metrics: accuracies from stored verdicts, and the geometry of features and class centers."""

from typing import Any

from advdpnp.metrics.accuracy import append, mcnemar, pack, unpack, wilson, worst_case
from advdpnp.metrics.geometry import (
    FDR,
    afs,
    afs_of,
    fdr,
    fdr_of,
    mean_pairwise_angle_degrees,
    mean_separation_degrees,
    min_separation_degrees,
    scr,
    scr_floor,
    scr_of,
)
from advdpnp.metrics.metric import Gathering, Metric, OfCenters, OfSums, measured

# Measured on clean and on attacked images, in this order.
FEATURE_METRICS: dict[str, Metric[Any]] = {
    metric.name: metric
    for metric in (
        Metric[OfSums](
            name="fdr_eq8",
            title="FDR Eq. 8",
            measure=fdr_of,
            part="eq8",
            better="lower",
            declared=False,
            of_sums=True,
        ),
        Metric[OfSums](
            name="fdr_trace_ratio",
            title="FDR W/B",
            measure=fdr_of,
            part="trace_ratio",
            better="lower",
            declared=False,
            of_sums=True,
        ),
        Metric[OfSums](
            name="fdr_trace_ratio_per_class",
            title="FDR W/B/C",
            measure=fdr_of,
            part="trace_ratio_per_class",
            better="lower",
            declared=False,
            of_sums=True,
        ),
        Metric[OfSums](
            name="afs",
            title="AFS",
            measure=afs_of,
            better="lower",
            declared=False,
            of_sums=True,
        ),
        Metric[OfSums](name="scr", title="SCR", measure=scr_of, better="higher", declared=False, of_sums=True),
    )
}

# Measured on the class centers. Results of earlier versions have the mean over all pairs as `mean_separation_degrees`:
# they are known by the want of `mean_pairwise_angle_degrees`.
CENTER_METRICS: dict[str, Metric[OfCenters]] = {
    metric.name: metric
    for metric in (
        Metric[OfCenters](name="scr_floor", title="SCR floor", measure=scr_floor, declared=False),
        Metric[OfCenters](
            name="mean_separation_degrees",
            title="MeanSep",
            measure=mean_separation_degrees,
            better="higher",
            unit="°",
            declared=False,
        ),
        Metric[OfCenters](
            name="mean_pairwise_angle_degrees",
            title="mean angle of all pairs",
            measure=mean_pairwise_angle_degrees,
            unit="°",
            declared=False,
        ),
        Metric[OfCenters](
            name="min_separation_degrees",
            title="MinSep",
            measure=min_separation_degrees,
            better="higher",
            unit="°",
            declared=False,
        ),
    )
}

__all__ = [
    "CENTER_METRICS",
    "FDR",
    "FEATURE_METRICS",
    "Gathering",
    "Metric",
    "afs",
    "append",
    "fdr",
    "mcnemar",
    "mean_pairwise_angle_degrees",
    "mean_separation_degrees",
    "measured",
    "min_separation_degrees",
    "pack",
    "scr",
    "scr_floor",
    "unpack",
    "wilson",
    "worst_case",
]
