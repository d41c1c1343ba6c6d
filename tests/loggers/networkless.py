"""The tools as tests use them: everything in one folder, no network, no telemetry."""

import socket
from pathlib import Path

import pytest


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder where the tools log to; asking for the address of any other machine is an error."""
    folder = tmp_path / "offline"
    folder.mkdir()
    monkeypatch.chdir(folder)
    settings = {
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(folder),
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_CONFIG_DIR": str(folder / "config"),
        "WANDB_CACHE_DIR": str(folder / "cache"),
        "WANDB_DATA_DIR": str(folder / "data"),
        "MLFLOW_TRACKING_URI": f"file:{folder / 'mlruns'}",
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    for name in ("WANDB_PROJECT", "WANDB_API_KEY", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    known = socket.getaddrinfo

    def local_alone(host: object, *arguments: object, **named: object) -> object:
        assert host in (None, "", "localhost", "127.0.0.1", "::1", socket.gethostname()), (
            f"the network is asked for {host}"
        )
        return known(host, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", local_alone)
    return folder
