"""Networks that compute in another precision and cast their images themselves: a float32 copy of them does not run."""

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

import advdpnp
from advdpnp import data
from advdpnp.external import ExternalModel
from advdpnp.external.external_model import single_precision
from advdpnp.metrics import unpack
from external.networks import digits, trained


class InDouble(nn.Module):
    """A network that computes, and answers, in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.model = trained().double()
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x.double())
        return logits


class DoubleLayer(InDouble):
    """Only its last layer is in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model((self.scale * x).double())
        return logits


def exported() -> ExportedProgram:
    """A program of torch.export, in whose graph the cast is."""
    rows = {0: torch.export.Dim("rows", min=2, max=1024)}
    return torch.export.export(InDouble(), (torch.rand(4, 1, 8, 8),), dynamic_shapes=(rows,))


def shares(eps: float, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Which images a linear network is right about, and which FGSM leaves it right about, by hand in float64."""
    weight, bias = (tensor.detach().double() for tensor in (trained().linear.weight, trained().linear.bias))
    flat = x.double().flatten(1)
    logits = flat @ weight.T + bias
    gradient = (logits.softmax(dim=1) - torch.eye(10, dtype=torch.float64)[y]) @ weight
    attacked = (flat + eps * gradient.sign()).clamp(0, 1) @ weight.T + bias
    return logits.argmax(dim=1) == y, attacked.argmax(dim=1) == y


@pytest.mark.parametrize("make", [InDouble, DoubleLayer, exported])
def test_networks_that_cast_their_images_are_evaluated_as_they_are(
    make: Callable[[], nn.Module | ExportedProgram],
) -> None:
    x, y = digits().first(60)
    with warnings.catch_warnings():
        # No copy is made, so none is told of.
        warnings.simplefilter("error")
        result = advdpnp.evaluate(make(), x, y, suite=["fgsm"], eps=0.05)
    clean, robust = shares(0.05, x, y)
    assert 0.1 < robust.double().mean() < clean.double().mean()
    assert torch.equal(unpack(result["clean_verdicts"], 60), clean)
    assert torch.equal(unpack(result["attacks"][0]["verdicts"], 60), clean & robust)


def test_images_are_crafted_on_such_a_network_too() -> None:
    x, y = digits().first(60)
    result = advdpnp.evaluate(trained(), x, y, suite=["fgsm"], eps=0.05, transfer_from=InDouble())
    assert result["worst_case_accuracy"] == (shares(0.05, x, y)[1] & shares(0.05, x, y)[0]).double().mean().item()


def test_such_a_network_explains_and_predicts() -> None:
    x, y = digits().first(20)
    answers = advdpnp.predict(InDouble(), x).predicted
    assert [answer.class_name == str(label) for answer, label in zip(answers, y.tolist())] == shares(0, x, y)[
        0
    ].tolist()
    assert advdpnp.explain(InDouble(), x[:1]).explained[0].prediction.class_name == answers[0].class_name


def test_a_network_from_a_file_of_code_opens_as_it_is() -> None:
    model, said = ExternalModel("external.test_precision:InDouble", as_built="own").open(data.spec("digits"))
    assert not said and {tensor.dtype for tensor in model.parameters()} == {torch.float64}


def test_a_program_that_takes_images_of_its_own_precision_alone_is_refused() -> None:
    program = torch.export.export(copy.deepcopy(trained()).double(), (torch.rand(4, 1, 8, 8).double(),)).module()
    with pytest.raises(ValueError, match=r"computes in torch\.float64 only: export it in float32"):
        single_precision(program, torch.rand(4, 1, 8, 8))
