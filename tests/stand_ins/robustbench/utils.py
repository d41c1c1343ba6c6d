"""`load_model`, which reads model_dir/dataset/threat/NAME.pt and downloads it where it is not there.

The module is called as that of the real package is, by whose name it is imported.
"""

from pathlib import Path

import torch
from torch import nn

from robustbench.model_zoo import model_dicts
from robustbench.model_zoo.enums import BenchmarkDataset, ThreatModel


def load_model(model_name: str, model_dir: str | Path, dataset: str, threat_model: str) -> nn.Module:
    entry = model_dicts[BenchmarkDataset(dataset)][ThreatModel(threat_model)][model_name]
    path = Path(model_dir) / dataset / threat_model / f"{model_name}.pt"
    if not path.is_file():
        print(f"Downloading {path} (gdrive_id={entry['gdrive_id']}).")
        raise ConnectionError("no network")
    state = {name.removeprefix("module."): tensor for name, tensor in torch.load(path).items()}
    model = entry["model"]()
    model.load_state_dict(state)
    return model.eval()
