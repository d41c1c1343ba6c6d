"""Adversarial images that are crafted on one network and judged on another."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import advdpnp
from advdpnp import api
from advdpnp.attacks import APGDCE, PGD, Attack, DeepFool, Suite
from advdpnp.attacks.stepwise import attack_batch
from advdpnp.callbacks import Silent
from advdpnp.data import Images
from advdpnp.evaluation import Evaluation, evaluate, merge_shards
from advdpnp.evaluation.transfer import TransferSource
from advdpnp.experiments import experiment
from advdpnp.metrics import unpack
from advdpnp.noise import IndexNoise
from advdpnp.progress import result_text
from advdpnp.results import AttackKey
from advdpnp.runs import Run, read_json
from attacks.linear import LinearClassifier

N = 24
ATTACKS: tuple[Attack, ...] = (PGD(eps=0.1, steps=3), APGDCE(eps=0.1, steps=5), DeepFool(eps=0.1, steps=3, targets=2))


def linear(seed: int) -> nn.Module:
    weight = torch.randn(3, 16, generator=torch.Generator().manual_seed(seed))
    return LinearClassifier(weight, -0.5 * weight.sum(dim=1)).eval()


def subject() -> tuple[nn.Module, nn.Module, Images]:
    pixels = torch.randint(0, 256, (N, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    target, source = linear(0), linear(1)
    return target, source, Images(pixels, target(pixels / 255).argmax(dim=1))


def run(**fields: Any) -> Any:
    target, source, images = subject()
    wanted: dict[str, Any] = {"suite": Suite("mine", "", ATTACKS, None), "n": N, "facts": {"data": "made"}, "chunk": 32}
    wanted["source"] = TransferSource(source, "another", "0123456789abcdef")
    return evaluate(target, images, Evaluation(**wanted | fields), Silent())


def judged(attack: Attack) -> Tensor:
    """Which images the target gets right after an attack on the source, computed by hand."""
    target, source, images = subject()
    x, y = images.batch(torch.arange(N))
    return target(attack(source, x, y, noise=IndexNoise(0, torch.arange(N)))).argmax(dim=1) == y


def test_images_of_the_source_are_judged_by_the_target() -> None:
    result = run()
    assert result["transfer"] == {"source": "another", "weights": "0123456789abcdef"}
    for attack, row in zip(ATTACKS, result["attacks"], strict=True):
        found = torch.as_tensor(unpack(row["verdicts"], N))
        assert torch.equal(found, judged(attack)), attack.name
        assert row["crafted_on"] == "another" and "crafted on another" in AttackKey.read(row).details
    worst = torch.stack([judged(attack) for attack in ATTACKS]).all(dim=0)
    assert result["worst_case_accuracy"] == pytest.approx(worst.double().mean().item())
    # Something is found, and less than with the target's own gradients.
    own = run(source=None)
    assert own["worst_case_accuracy"] < result["worst_case_accuracy"] < 1
    assert "transfer: images are crafted on another (weights 0123456789ab), judged here" in result_text(
        result | {"checkpoint": "made"}
    )


def test_a_search_gives_one_image_for_each_and_not_whatever_it_has_passed() -> None:
    target, source, images = subject()
    x, y = images.batch(torch.arange(N))
    once = attack_batch((APGDCE(eps=0.1, steps=5),), source, x, y, IndexNoise(0, torch.arange(N)))
    assert torch.equal(judged(ATTACKS[1]), target(once).argmax(dim=1) == y)


def test_shards_are_those_of_the_whole() -> None:
    merged = merge_shards([run(shard=(part, 2), chunk=16) for part in (1, 2)])
    whole = run(chunk=16)
    assert [row["verdicts"] for row in merged["attacks"]] == [row["verdicts"] for row in whole["attacks"]]
    assert merged["transfer"] == whole["transfer"]


def test_a_network_of_other_images_or_classes_is_refused() -> None:
    other = nn.Sequential(nn.Flatten(), nn.Linear(16, 5)).eval()
    with pytest.raises(ValueError, match=r"another knows 5 classes, and the network that is judged 3: craft on"):
        run(source=TransferSource(other, "another", "0"))
    wide = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    with pytest.raises(ValueError, match=r"another cannot take images of \(1, 4, 4\) .*: craft on"):
        run(source=TransferSource(wide, "another", "0"))
    with pytest.raises(ValueError, match="training mode"):
        run(source=TransferSource(linear(1).train(), "another", "0"))
    with pytest.raises(ValueError, match="crafted on another network in fp32; got tf32"):
        run(search_precision="tf32")


def test_in_python_the_source_is_a_network() -> None:
    target, source, images = subject()
    x, y = images.batch(torch.arange(N))
    result = advdpnp.evaluate(target, x, y, suite=list(ATTACKS), transfer_from=source)
    assert result["transfer"]["source"] == "LinearClassifier" and len(result["transfer"]["weights"]) == 64
    assert torch.equal(torch.as_tensor(unpack(result["attacks"][0]["verdicts"], N)), judged(ATTACKS[0]))
    with pytest.raises(ValueError, match="transfer_from must be the folder of a run or a network in eval mode; got a"):
        advdpnp.evaluate(target, x, y, suite=list(ATTACKS), transfer_from=3)


def test_a_run_names_its_result_after_the_run_that_images_come_from(tmp_path: Path) -> None:
    settings = ("recipe.epochs=1", "recipe.train_images=96", "recipe.holdout=0", "recipe.attack.steps=1")
    folders = [
        api.train(experiment(f"digits/tiny/{name}", settings=settings), tmp_path).folder for name in ("at", "st")
    ]
    own = api.evaluate_run(folders[0], "pgd20", limit=8)
    result = api.evaluate_run(folders[0], "pgd20", limit=8, transfer_from=folders[1])
    digest = hashlib.sha256((folders[1] / "checkpoints/last.safetensors").read_bytes()).hexdigest()
    assert result["transfer"] == {"source": "digits/tiny/st/seed-0", "weights": digest}
    stored = read_json(folders[0] / f"eval/pgd20-transfer-{digest[:8]}.json")
    assert stored == result and read_json(folders[0] / "eval/pgd20.json") == own
    with pytest.raises(FileNotFoundError):
        api.evaluate_run(folders[0], "pgd20", limit=8, transfer_from=tmp_path / "nothere")
    assert Run(folders[0]).exists
