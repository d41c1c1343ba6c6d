"""Named experiments: what each changes, and that it changes nothing else."""

import dataclasses

import pytest
import torch

from advdpnp.catalog import catalog
from advdpnp.experiments import ABLATIONS, experiment, from_config
from defenses.smooth import make
from defenses.test_contract import step_of
from training.small import small_task

# Every choice of Adv-DPNP that the paper leaves open or argues for, by the field that makes it.
EXPECTED = {
    "adv-dpnp-literal": {"alignment": "sum"},
    "adv-dpnp-no-dpp": {"lambda_dpp": 0.0},
    "adv-dpnp-no-dnp": {"lambda_dnp": 0.0},
    "adv-dpnp-no-dfa": {"lambda_dfa": 0.0},
    "adv-dpnp-no-dual": {"prototype_gradient": "both"},
    "adv-dpnp-alpha-10": {"alpha": 10.0},
    "adv-dpnp-alpha-20": {"alpha": 20.0},
    "adv-dpnp-alpha-80": {"alpha": 80.0},
    "adv-dpnp-renormalize-step": {"renormalize": "step"},
    "adv-dpnp-kl-detached": {"kl_target": "detached"},
    "adv-dpnp-negative-detached": {"negative": "detached"},
    "adv-dpnp-rival-l-half": {"rival": "l_half"},
    "adv-dpnp-dim-16": {"embedding": "linear(16)"},
    "adv-dpnp-dim-64": {"embedding": "linear(64)"},
    "adv-dpnp-dim-256": {"embedding": "linear(256)"},
    "adv-dpnp-joint-forward": {"forward": "joint"},
    "adv-dpnp-kl-attack": {"inner_loss": "kl"},
}
EVERY = pytest.mark.parametrize("name", ABLATIONS)


def test_every_choice_has_a_name() -> None:
    assert {name: dict(ablation.fields) for name, ablation in ABLATIONS.items()} == EXPECTED


@EVERY
@pytest.mark.parametrize("data", ["cifar10", "cifar100"])
def test_an_ablation_changes_its_fields_and_nothing_else(name: str, data: str) -> None:
    found, base = (experiment(f"{data}/resnet8/{each}", "paper") for each in (name, ABLATIONS[name].defense))
    assert found.defense == dataclasses.replace(base.defense, **EXPECTED[name]) != base.defense
    assert dataclasses.replace(found, defense=base.defense, tag="") == base
    assert from_config(found.config()) == found


def test_each_has_a_folder_of_its_own_and_a_description_that_says_what_to_set() -> None:
    assert len({experiment(f"digits/tiny/{name}").tag for name in ABLATIONS}) == len(ABLATIONS)
    rows = catalog("experiments")["experiments"]
    assert list(rows) == list(ABLATIONS)
    for name, fields in EXPECTED.items():
        assert all(f"defense.{field}={value}" in rows[name] for field, value in fields.items())


@EVERY
def test_it_trains(name: str) -> None:
    *_, terms = step_of(small_task(name))
    assert all(torch.isfinite(term) for term in terms.values())


@pytest.mark.parametrize(
    ("name", "off"),
    [
        ("adv-dpnp-no-dpp", {"dpp_clean", "dpp_adversarial"}),
        ("adv-dpnp-no-dnp", {"dnp"}),
        ("adv-dpnp-no-dfa", {"dfa"}),
    ],
)
def test_a_term_that_is_off_is_zero_and_the_others_are_those_of_the_whole_method(name: str, off: set[str]) -> None:
    whole = experiment("digits/tiny/adv-dpnp").defense
    model, batch, x_adv = make(whole)
    terms = experiment(f"digits/tiny/{name}").defense.loss(model, batch, x_adv)
    expected = whole.loss(model, batch, x_adv)
    assert {term for term, value in terms.items() if value == 0} == off
    assert all(torch.equal(terms[term], expected[term]) for term in expected if term not in off)
