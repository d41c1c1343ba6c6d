"""Metrics: accuracies from stored verdicts, and the geometry of features and class centers."""

from torch import Tensor

from advdpnp.metrics.accuracy import append, mcnemar, pack, unpack, wilson, worst_case
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
from advdpnp.metrics.metric import Metric, OfCenters, OfFeatures, measured


def _fdr(features: Tensor, labels: Tensor, centers: Tensor) -> FDR:
    return fdr(features, labels, len(centers))


# Measured on clean and on attacked images, in this order.
FEATURE_METRICS: dict[str, Metric[OfFeatures]] = {
    metric.name: metric
    for metric in (
        Metric[OfFeatures](
            name="fdr_eq8",
            title="FDR Eq. 8",
            measure=_fdr,
            part="eq8",
            better="lower",
            declared=False,
        ),
        Metric[OfFeatures](
            name="fdr_trace_ratio",
            title="FDR W/B",
            measure=_fdr,
            part="trace_ratio",
            better="lower",
            declared=False,
        ),
        Metric[OfFeatures](
            name="fdr_trace_ratio_per_class",
            title="FDR W/B/C",
            measure=_fdr,
            part="trace_ratio_per_class",
            better="lower",
            declared=False,
        ),
        Metric[OfFeatures](
            name="afs",
            title="AFS",
            measure=lambda features, labels, centers: afs(features, labels, len(centers)),
            better="lower",
            declared=False,
        ),
        Metric[OfFeatures](name="scr", title="SCR", measure=scr, better="higher", declared=False),
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
