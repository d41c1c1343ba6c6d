"""Loggers: TensorBoard, Weights & Biases, MLflow, or your own, that follow a training."""

from collections.abc import Callable, Sequence

from advdpnp.loggers.followed import following
from advdpnp.loggers.logger import Entry, LoggedRun, Logger, LogPlace
from advdpnp.loggers.mlflow import MlflowLogger
from advdpnp.loggers.tensorboard import TensorBoardLogger
from advdpnp.loggers.weights_and_biases import WandbLogger
from advdpnp.ranges import nearest

LOGGERS: dict[str, Callable[[], Logger]] = {
    "tensorboard": TensorBoardLogger,
    "wandb": WandbLogger,
    "mlflow": MlflowLogger,
}


def make_loggers(wanted: Sequence[str | Logger]) -> list[Logger]:
    """Loggers by name, or as they are.

    Raises:
        ValueError: there is no logger of that name, or its package is not installed.
    """
    return [_named(one) if isinstance(one, str) else one for one in wanted]


def _named(name: str) -> Logger:
    if name not in LOGGERS:
        raise ValueError(f"there is no logger {name!r}; nearest: {nearest(name, LOGGERS)}")
    return LOGGERS[name]()


__all__ = ["LOGGERS", "Entry", "LogPlace", "LoggedRun", "Logger", "following", "make_loggers"]
