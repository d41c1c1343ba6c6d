"""Entries by data set and threat model."""

from torch import Tensor, nn

from robustbench.model_zoo.enums import BenchmarkDataset, ThreatModel


class Robust2019Net(nn.Module):
    """Normalizes by itself, with numbers that are not in its file."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear((x.mean((2, 3)) - 0.5) / 0.25)


model_dicts = {
    BenchmarkDataset.cifar_10: {
        ThreatModel.Linf: {
            "Robust2019": {"model": Robust2019Net, "gdrive_id": "abc"},
            "Several2020": {"model": Robust2019Net, "gdrive_id": ["a", "b"]},
        },
        ThreatModel.L2: {},
    },
    BenchmarkDataset.cifar_100: {},
    BenchmarkDataset.imagenet: {},
}
