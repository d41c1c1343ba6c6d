"""MLflow. Where it logs, its own environment variables say, such as MLFLOW_TRACKING_URI."""

import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from advdpnp.loggers.logger import Entry, LoggedRun, LogPlace
from advdpnp.loggers.optional import needed

# MLflow has no histograms: these quantiles of one are metrics.
QUANTILES = {"min": 0.0, "p25": 0.25, "median": 0.5, "p75": 0.75, "max": 1.0}
# The most parameters that one call may log.
PARAMETERS = 100
# A metric that every epoch has; logged last, so that it says which epochs are whole.
LAST = "lr"
# By default a server that does not answer is asked for minutes, or for a quarter of an hour, while the training waits.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}


class MlflowLogger:
    """Logs to a run of MLflow, in the experiment advdpnp or $MLFLOW_EXPERIMENT_NAME.

    Raises:
        ValueError: mlflow is not installed.
    """

    name = "mlflow"

    def __init__(self) -> None:
        self._tool = needed("mlflow", "mlflow")
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        self._client: Any = None
        self._id = ""

    def begin(self, run: LoggedRun, known: LogPlace) -> LogPlace:
        self._client = self._tool.MlflowClient()
        if known.identity and self._is_there(known.identity):
            self._id = known.identity
            self._client.update_run(self._id, status="RUNNING")
        else:
            self._id = self._created(run)
        logged = self._client.get_metric_history(self._id, LAST)
        return LogPlace(self._id, max((metric.step for metric in logged), default=0))

    def _is_there(self, identity: str) -> bool:
        try:
            found = self._client.get_run(identity)
        except self._tool.exceptions.MlflowException as error:
            # It is of another store. Anything else, such as no network, is the caller's.
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        return bool(found.info.lifecycle_stage == "active")

    def _created(self, run: LoggedRun) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "advdpnp"
        experiment = self._client.get_experiment_by_name(name)
        within = experiment.experiment_id if experiment else self._client.create_experiment(name)
        identity: str = self._client.create_run(within, run_name=run.name, tags={"group": run.group}).info.run_id
        parameters = [self._tool.entities.Param(key, value) for key, value in _flat(run.config)]
        for at in range(0, len(parameters), PARAMETERS):
            self._client.log_batch(identity, params=parameters[at : at + PARAMETERS])
        return identity

    def log(self, entry: Entry) -> None:
        for name, image in entry.images.items():
            self._client.log_image(self._id, image, key=name, step=entry.epoch)
        values = {
            f"{name}.{word}": float(np.quantile(values, share))
            for name, values in entry.histograms.items()
            for word, share in QUANTILES.items()
        } | entry.scalars
        values[LAST] = values.pop(LAST)
        now = int(time.time() * 1000)
        metrics = [self._tool.entities.Metric(name, value, now, entry.epoch) for name, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def close(self, finished: bool) -> None:
        self._client.set_terminated(self._id, status="FINISHED" if finished else "KILLED")


def _flat(config: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Fields of a configuration by dotted path, as `--set` takes them."""
    if not isinstance(config, dict):
        yield path, str(config)
        return
    for key, value in config.items():
        yield from _flat(value, f"{path}.{key}" if path else str(key))
