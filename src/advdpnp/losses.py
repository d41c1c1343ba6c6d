"""Losses that two or more methods share: tensors in, one value per example out, fp32 inside."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from advdpnp.ranges import unknown

Reduction = Literal["sum", "mean"]
Metric = Literal["l2", "l_half"]


def at_least_fp32(values: Tensor) -> Tensor:
    """The same values in fp32, or in float64 where they are that already: losses are never taken in low precision."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def is_label(y: Tensor, num_classes: int) -> Tensor:
    """(B,) int64 -> (B, C) bool, True at the label; unlike one_hot, the host does not wait for the device."""
    return y[:, None] == torch.arange(num_classes, device=y.device)


def is_one_output(output: object, batch: int) -> bool:
    """Whether a network's output is one number for each image, (B,) or (B, 1), as binary networks give it."""
    if not isinstance(output, Tensor):
        return False
    # A squeeze leaves no dimension of a batch of one.
    return output.shape in ((batch,), (batch, 1)) or (batch == 1 and output.dim() == 0)


def class_logits(output: Tensor, batch: int) -> Tensor:
    """Logits of two or more classes, (B, C), as they are; of one output z, (B,) or (B, 1), the logits [0, z].

    The softmax of [0, z] is 1 - sigmoid(z) and sigmoid(z), so z is the logit of class 1.
    """
    if not is_one_output(output, batch):
        return output
    z = output.reshape(batch)
    return torch.stack([torch.zeros_like(z), z], dim=1)


def has_answer(logits: Tensor) -> Tensor:
    """Whether logits are an answer, with no NaN, no +Inf and a finite highest one: (B, C) -> (B,) bool.

    -Inf is the logarithm of a probability of 0, so it is legal, but not for every class.
    """
    return logits.amax(dim=1).isfinite()


def is_right(logits: Tensor, y: Tensor) -> Tensor:
    """Whether the label has the highest logit: (B, C), (B,) -> (B,) bool; False where `has_answer` is."""
    return (logits.argmax(dim=1) == y) & has_answer(logits)


def cross_entropy(logits: Tensor, y: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """-log softmax(logits)_y, in nats.

    Args:
        logits: (B, C).
        y: (B,) int64 in [0, C).
        label_smoothing: s in [0, 1]; the target is (1 - s) of the label and s/C of every class (Szegedy et al. 2016).
    Returns:
        (B,) >= 0.
    """
    return functional.cross_entropy(at_least_fp32(logits), y, reduction="none", label_smoothing=label_smoothing)


def kl_divergence(logits_p: Tensor, logits_q: Tensor) -> Tensor:
    """KL(p || q) = sum_k p_k log(p_k / q_k) of the two softmaxes: (B, C), (B, C) -> (B,) >= 0, nats.

    Nothing is detached; TRADES' outer loss (Zhang et al. 2019, Eq. 5) and Adv-DPNP's consistency (Eq. 6).
    """
    log_p = functional.log_softmax(at_least_fp32(logits_p), dim=1)
    log_q = functional.log_softmax(at_least_fp32(logits_q), dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=1)


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """max_{k != y} z_k - z_y (Carlini and Wagner 2017): (B, C), (B,) -> (B,), positive where misclassified."""
    logits = at_least_fp32(logits)
    own = is_label(y, logits.shape[1])
    other = logits.masked_fill(own, -torch.inf).amax(dim=1)
    return other - logits.gather(1, y[:, None]).squeeze(1)


def lead(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """z_target - z_y: (B, C), (B,), (B,) -> (B,), positive where the target is likelier than the label."""
    logits = at_least_fp32(logits)
    return (logits.gather(1, target[:, None]) - logits.gather(1, y[:, None])).squeeze(1)


def prototype_alignment(embedding: Tensor, prototypes: Tensor, y: Tensor, reduction: Reduction) -> Tensor:
    """Squared distance of each embedding to its own prototype (DPNP; Adv-DPNP Eq. 3, without lambda / 2).

    Args:
        embedding: (B, D), not normalized.
        prototypes: (C, D).
        y: (B,) int64 in [0, C).
        reduction: over the D coordinates: "sum", as Eq. 3 prints it, or "mean".
    Returns:
        (B,) >= 0, squared feature units; 0 iff the embedding is its prototype.
    Raises:
        ValueError: another reduction.
    """
    squares = (at_least_fp32(embedding) - prototypes[y]).square()
    if reduction == "sum":
        return squares.sum(dim=1)
    if reduction == "mean":
        return squares.mean(dim=1)
    raise unknown("reduction", reduction, Reduction)


def half_norm(v: Tensor, smoothing: float = 1e-3) -> Tensor:
    """sum_i |v_i|^(1/2) over the last dimension, smoothed to sum_i (v_i^2 + smoothing^2)^(1/4) (Adv-DPNP Eq. 5).

    The plain square root has an infinite slope, and in autograd a NaN, at 0.
    """
    return (at_least_fp32(v).square() + smoothing**2).pow(0.25).sum(dim=-1)


@torch.no_grad()
def nearest_rival(prototypes: Tensor, metric: Metric = "l2") -> Tensor:
    """Index of the nearest other prototype of each class (Adv-DPNP Eq. 4).

    Args:
        prototypes: (C, D), C at least 2.
        metric: "l2", as Eq. 4, or "l_half", the measure of Eq. 5.
    Returns:
        (C,) int64; of equally near rivals the lowest index, never the class itself.
    Raises:
        ValueError: another metric.
    """
    classes, prototypes = len(prototypes), at_least_fp32(prototypes)
    if metric == "l2":
        distance, rounding = _squared_distances(prototypes)
    elif metric == "l_half":
        distance = half_norm(prototypes[:, None] - prototypes)
        rounding = distance.new_zeros(())
    else:
        raise unknown("metric", metric, Metric)
    distance.fill_diagonal_(torch.inf)
    # argmin leaves ties open; the smallest index among the minima does not.
    index = torch.arange(classes, dtype=torch.int32, device=prototypes.device)
    nearest = distance <= distance.amin(dim=1, keepdim=True) + rounding
    # NaN prototypes have no nearest rival; a valid index lets the NaN reach the loss, where it is reported.
    return torch.where(nearest, index, classes - 1).amin(dim=1).long()


def _squared_distances(points: Tensor) -> tuple[Tensor, Tensor]:
    """(C, D) -> (C, C) float64, and a bound of their error, a scalar: by one product, cheap for many classes.

    In float64, since a product in fp32 would not tell near rivals from nearer ones.
    """
    points = points.double()
    squares = points.square().sum(dim=1)
    return squares[:, None] + squares - 2 * points @ points.T, 1e-12 * squares.amax()


def prototype_repulsion(prototypes: Tensor, metric: Metric = "l2", live_rivals: bool = True) -> Tensor:
    """-(1/C) sum_j ||c_j - c_neg(j)||_(1/2)^(1/2): prototypes pushed off their nearest rivals (Adv-DPNP Eqs. 4-5).

    Args:
        prototypes: (C, D).
        metric: how the rival is chosen, as in `nearest_rival`.
        live_rivals: whether c_neg(j) gets a gradient too; the paper does not say.
    Returns:
        Scalar < 0. Two equal prototypes get no force from it.
    """
    prototypes = at_least_fp32(prototypes)
    rivals = prototypes[nearest_rival(prototypes, metric)]
    return -half_norm(prototypes - (rivals if live_rivals else rivals.detach())).mean()
