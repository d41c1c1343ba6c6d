"""Whatever the caller has switched on: numbers are those that a result states, and all switches stay as they were."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import advdpnp
from advdpnp.api.protocol import Radii, suite_of
from advdpnp.api.stored_evaluation import EvaluationOptions
from advdpnp.attacks import PGD, Suite
from advdpnp.callbacks import Silent
from advdpnp.data import Images
from advdpnp.evaluation import Evaluation, evaluate
from advdpnp.evaluation.single_pass import as_stated
from advdpnp.runs import Json
from attacks.robust import digits

PROTOCOL = ["pgd:steps=3", "apgd-ce:steps=3", "apgd-ce:norm=l1,eps=2,steps=4", "fab-t:steps=3,targets=2",
            "square:steps=6", "square:norm=l2,eps=0.5,steps=6"]  # fmt: skip


def numbers(model: nn.Module, x: Tensor, y: Tensor) -> list[Any]:
    result = advdpnp.evaluate(model, x, y, suite=PROTOCOL, eps=0.1)
    return [[row["verdicts"], row.get("mean_cross_entropy"), row.get("mean_norm")] for row in result["attacks"]]


@contextlib.contextmanager
def float64() -> Iterator[None]:
    try:
        torch.set_default_dtype(torch.float64)
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def coarse_products() -> Iterator[None]:
    try:
        torch.set_float32_matmul_precision("medium")
        yield
    finally:
        torch.set_float32_matmul_precision("highest")


SWITCHES: dict[str, Callable[[], contextlib.AbstractContextManager[Any]]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "float64": float64,
    "coarse products": coarse_products,
}


@pytest.mark.parametrize("switch", SWITCHES)
def test_an_evaluation_gives_the_same_numbers_and_leaves_the_switch_on(switch: str) -> None:
    subject = digits(12)
    with SWITCHES[switch]():
        before = switches()
        found = numbers(*subject)
        assert switches() == before
    # Afterwards, so that nothing that was kept from the first is of another kind.
    assert numbers(*subject) == found


def switches() -> list[Any]:
    backends: Any = torch.backends
    kinds = (
        backends.cuda.matmul,
        backends.cudnn.conv,
        backends.cudnn.rnn,
        backends.mkldnn.matmul,
        backends.mkldnn.conv,
    )
    return [
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_default_dtype(),
        torch.get_float32_matmul_precision(),
        backends.cuda.matmul.allow_tf32,
        backends.cudnn.allow_tf32,
        *(kind.fp32_precision for kind in kinds),
    ]


# In a process of its own: there is no way back from the newer of torch's two interfaces to the older one.
TF32 = """
import torch
from advdpnp.evaluation.single_pass import as_stated
b = torch.backends
kinds = [b.cuda.matmul, b.cudnn.conv, b.cudnn.rnn, b.mkldnn.matmul, b.mkldnn.conv, b.mkldnn.rnn]
{setting}
before = [kind.fp32_precision for kind in kinds]
assert "ieee" not in before, before
with as_stated():
    assert [kind.fp32_precision for kind in kinds] == ["ieee"] * 6
    assert not b.cuda.matmul.allow_tf32 and not b.cudnn.allow_tf32
assert [kind.fp32_precision for kind in kinds] == before
assert {still}
"""


@pytest.mark.parametrize(
    ("setting", "still"),
    [
        ("pass", "b.cudnn.allow_tf32 and not b.cuda.matmul.allow_tf32"),
        ("b.cuda.matmul.allow_tf32 = True", "b.cudnn.allow_tf32 and b.cuda.matmul.allow_tf32"),
        ("torch.set_float32_matmul_precision('medium')", "torch.get_float32_matmul_precision() == 'medium'"),
        ("b.cuda.matmul.fp32_precision = 'tf32'", "True"),
        ("b.fp32_precision = 'tf32'", "b.fp32_precision == 'tf32'"),
    ],
)
@pytest.mark.slow
def test_either_interface_to_tf32_is_as_it_was_found(setting: str, still: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    program = TF32.format(setting=setting, still=still)
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)


def test_switches_are_put_back_after_an_error_too() -> None:
    before = switches()
    with pytest.raises(KeyboardInterrupt), as_stated():
        raise KeyboardInterrupt
    assert switches() == before


def test_a_network_that_was_made_in_inference_mode_is_evaluated() -> None:
    expected = numbers(*digits(12))
    with torch.inference_mode():
        assert numbers(*digits(12)) == expected


def test_images_with_gradients_keep_none_and_the_network_is_as_it_was() -> None:
    model, x, y = digits(12)
    model.backbone.requires_grad_(False)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    given = x.clone().requires_grad_()
    advdpnp.evaluate(model, given, y, suite=PROTOCOL, eps=0.1)
    assert given.grad is None and given._backward_hooks is None and torch.equal(given, x)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert not any(part.training for part in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert {parameter.requires_grad for parameter in model.backbone.parameters()} == {False}


class InPlace(nn.Module):
    """A network that scales its input in place."""

    def __init__(self, model: nn.Module, in_place: bool) -> None:
        super().__init__()
        self.model, self.in_place = model, in_place
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x.mul_(0.9) if self.in_place else x * 0.9)
        return logits


def test_a_network_that_changes_its_input_in_place_is_given_copies() -> None:
    model, x, y = digits(40)
    images, attack = Images(x, y, levels=1), PGD(eps=0.1, steps=3, restarts=2)
    members = Suite("s", "", (attack, *suite_of(PROTOCOL, Radii({"linf": 0.1}, "digits", 64)).attacks), None)

    def found(in_place: bool) -> Json:
        wanted = Evaluation(suite=members, n=40, facts={}, chunk=16)
        result = evaluate(InPlace(model, in_place), images, wanted, Silent())
        for row in result["attacks"]:
            del row["seconds"]
        return result

    assert found(True) == found(False)
    assert torch.equal(images.pixels, digits(40)[1])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"chunk": 0}, "chunk must be at least 1; got 0"),
        ({"chunk": -8}, "chunk must be at least 1; got -8"),
        ({"chunk": 2.5}, "chunk must be a whole number; got 2.5"),
        ({"search_chunk": -1}, "search_chunk must be at least 0; got -1"),
        ({"batch_size": -1}, "batch_size must be at least 0; got -1"),
        ({"batch_size": 64.5}, "batch_size must be a whole number; got 64.5"),
        ({"n": 0}, "n must be at least 1; got 0"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Evaluation(**{"suite": Suite("s", "", (), None), "n": 4, "facts": {}, **fields})


def test_chunks_of_images_in_memory_are_checked_too() -> None:
    with pytest.raises(ValueError, match="chunk must be at least 1; got 0"):
        advdpnp.evaluate(*digits(4), chunk=0)


@pytest.mark.parametrize(
    "fields", [{"seeds": 0}, {"batch_size": -1}, {"batch_size": 1.5}, {"limit": 0}, {"limit": 2.5}]
)
def test_an_effort_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    (name,) = fields
    with pytest.raises(ValueError, match=rf"{name} must be (a whole number|at least \d)"):
        EvaluationOptions(**fields)


def test_an_empty_test_set_is_refused() -> None:
    model, x, y = digits(1)
    with pytest.raises(ValueError, match="the test set is empty"):
        evaluate(model, Images(x[:0], y[:0], 1), Evaluation(suite=Suite("s", "", (), None), n=1, facts={}), Silent())
    with pytest.raises(ValueError, match="N at least 1"):
        advdpnp.evaluate(model, x[:0], y[:0])
