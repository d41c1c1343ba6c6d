"""Programs of torch.export: their graph holds their mode, whatever their flags say."""

import pytest
import torch
from torch import nn

from advdpnp.attacks import FGSM
from advdpnp.evaluation import check_mode
from advdpnp.external import Normalized
from advdpnp.mode import is_program, settle, training_parts


def network() -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
    for parameter in model.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) / 4)
    return model


def program(model: nn.Module) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch")
    return torch.export.export(model, (torch.zeros(2, 1, 8, 8),), dynamic_shapes=({0: batch},))


X, Y = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 2, 0, 1])


def test_parts_in_training_mode_are_named_and_those_of_a_program_have_no_mode() -> None:
    model = network()
    assert not is_program(model) and training_parts(model) == []
    model[1].train()
    assert training_parts(model) == ["1"]
    exported = program(network()).module()
    assert is_program(exported) and training_parts(exported) == []
    assert training_parts(nn.Sequential(exported)) == ["the whole"]
    # Its submodules are those that decide, as in any other network.
    traced = torch.fx.symbolic_trace(network().train())
    assert not is_program(traced) and len(training_parts(traced)) == 6


def test_a_program_is_attacked_as_the_network_that_it_is_of() -> None:
    model, exported = network(), program(network()).module()
    attack = FGSM(eps=0.1)
    assert torch.equal(attack(exported, X, Y), attack(model, X, Y))


def test_what_holds_a_program_says_how_it_gets_out_of_training_mode() -> None:
    holder = nn.Sequential(program(network()).module())
    with pytest.raises(ValueError, match=r"\.training to False"):
        check_mode(holder)
    holder.training = False
    check_mode(holder)


def test_a_settled_program_can_be_told_to_be_in_eval_mode_and_answers_as_before() -> None:
    model, exported = network(), program(network()).module()
    holder = nn.Sequential(settle(exported)).eval()
    assert not any(part.training for part in holder.modules())
    assert torch.equal(holder(X), model(X))
    normalized = Normalized(program(network()).module(), [0.5], [0.25]).eval()
    check_mode(normalized)
    assert torch.equal(normalized(X), model((X - 0.5) / 0.25))
