"""Audits networks for masked gradients."""

from typing import Any

import torch
from torch import nn

from advdpnp.api.external import in_memory_images, network_device
from advdpnp.api.protocol import Radius, radius_of
from advdpnp.attacks.monitored_model import out_of_inference
from advdpnp.auditing import Audit, run_audit
from advdpnp.auditing.run_audit import IMAGES
from advdpnp.callbacks import EvaluationCallback
from advdpnp.evaluation.one_output import with_class_logits
from advdpnp.evaluation.single_pass import as_stated
from advdpnp.external.external_model import single_precision
from advdpnp.threat import Ball


@as_stated()
def audit_model(
    model: nn.Module,
    x: Any,
    y: Any = None,
    *,
    eps: Radius | None = None,
    norm: Ball = "linf",
    limit: int = IMAGES,
    seed: int = 0,
    callback: EvaluationCallback | None = None,
) -> Audit:
    images = in_memory_images(x, y)
    images = images.select(torch.arange(min(limit, len(images)))).to(network_device(model, images.pixels))
    ready, _ = single_precision(out_of_inference(model))
    ready, _ = with_class_logits(ready, images)
    pixels, labels = images.batch(torch.arange(len(images), device=images.labels.device))
    radius = radius_of(eps)
    return run_audit(ready, pixels, labels, 8 / 255 if radius is None else radius, norm, seed, callback)


audit = audit_model
