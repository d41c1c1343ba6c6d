"""timm:NAME, networks of the timm library, with its tags of pretrained weights: timm:resnet18.a1_in1k."""

import contextlib
import importlib
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlparse

from torch import nn

from advdpnp.models.libraries.base import (
    Arguments,
    ImageShape,
    LibraryNetwork,
    Preprocessing,
    called,
    imported,
)
from advdpnp.ranges import nearest


class TimmNetwork(LibraryNetwork):
    """A network of timm, for images of any number of channels."""

    package: ClassVar[str] = "timm"
    form: ClassVar[str] = "timm:NAME"

    def _facts(self) -> tuple[Any, Any]:
        """The package, and the network's `pretrained_cfg`."""
        timm = imported("timm", self.reference)
        if not timm.is_model(self.name):
            raise ValueError(f"timm has no model {self.name!r}; nearest: {nearest(self.name, timm.list_models())}")
        try:
            return timm, timm.get_pretrained_cfg(self.name)
        except RuntimeError:
            known = timm.list_pretrained(self.name.partition(".")[0] + ".*")
            raise ValueError(f"timm has no weights {self.name!r}; nearest: {nearest(self.name, known)}") from None

    def preprocessing(self) -> Preprocessing:
        _, facts = self._facts()
        if facts is None:
            return Preprocessing()
        return Preprocessing(tuple(facts.mean), tuple(facts.std), facts.input_size[-1])

    def untrained(self, image_shape: ImageShape, num_classes: int, arguments: Arguments) -> nn.Module:
        self._facts()
        fields = {"pretrained": False, "num_classes": num_classes, **arguments}
        return called(lambda **named: self._created(image_shape, named), self.reference, fields)

    def pretrained_classes(self) -> int:
        _, facts = self._facts()
        if facts is None or not facts.has_weights:
            raise ValueError(
                f"timm has no pretrained weights of {self.name}: give some as --weights FILE, or --untrained"
            )
        return int(facts.num_classes)

    def _pretrained(self, image_shape: ImageShape, arguments: Arguments, store: Path) -> nn.Module:
        with _quick_to_notice_that_it_is_offline():
            return self._created(image_shape, {"pretrained": True, **arguments})

    def _created(self, image_shape: ImageShape, arguments: Mapping[str, Any]) -> nn.Module:
        timm, facts = self._facts()
        fields: dict[str, Any] = {"in_chans": image_shape[0], **arguments}
        # A vision transformer is built for images of one size; its weights are interpolated.
        if facts is not None and facts.fixed_input_size and image_shape[1:] != tuple(facts.input_size[1:]):
            fields = {"img_size": image_shape[1], **fields}
        network: nn.Module = timm.create_model(self.name, **fields)
        return network


@contextlib.contextmanager
def _quick_to_notice_that_it_is_offline() -> Iterator[None]:
    """Without the minute of retries with which the hub's client notices that there is no network."""
    logger = logging.getLogger("huggingface_hub")
    level, constants = logger.level, None
    logger.setLevel(logging.CRITICAL)
    try:
        if not _resolves(os.environ.get("HF_ENDPOINT") or "https://huggingface.co"):
            with contextlib.suppress(ImportError):
                constants = importlib.import_module("huggingface_hub.constants")
                was, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True  # type: ignore[attr-defined]
        yield
    finally:
        logger.setLevel(level)
        if constants is not None:
            constants.HF_HUB_OFFLINE = was  # type: ignore[attr-defined]


def _resolves(address: str) -> bool:
    try:
        socket.getaddrinfo(urlparse(address).hostname, 443)
    except OSError:
        # Behind a proxy it is the proxy that resolves names.
        return any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"))
    return True
