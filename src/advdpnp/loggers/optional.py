"""Packages that only a logger needs."""

from importlib import import_module
from typing import Any


def needed(module: str, extra: str) -> Any:
    """The module of an optional package.

    Args:
        module: its name, to import.
        extra: the extra of advdpnp that installs it, and the name of the package.
    Raises:
        ValueError: it cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ValueError(
            f"logging to {extra} needs the package {extra} ({error}): pip install 'advdpnp[{extra}]'"
        ) from None
