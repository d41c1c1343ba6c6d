from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from advdpnp import data, metrics
from advdpnp.attacks import PGD, Suite, suite
from advdpnp.callbacks import Silent
from advdpnp.data import Images
from advdpnp.evaluation import Evaluation, evaluate
from advdpnp.evaluation.pictures import Pictured, pictured
from advdpnp.experiments import experiment
from advdpnp.metrics.metric import Metric, OfCenters, OfFeatures
from advdpnp.models.classifier import Classifier
from advdpnp.runs import Json

QUICK = Suite("two", "two short attacks", (PGD(eps=0.1, steps=2), PGD(eps=0.2, steps=3)), features=0)


def digits() -> Images:
    return data.load("digits", "test")


def network(defense: str = "adv-dpnp", backbone: str = "tiny") -> Classifier:
    wanted = experiment(f"digits/{backbone}/{defense}")
    model = wanted.build()
    wanted.defense.between_epochs(model, 0)
    with torch.no_grad():
        model.backbone.bn1.running_mean.normal_(generator=torch.Generator().manual_seed(0)).mul_(0.1)
    return model.eval()


def run(images: Images, n: int = 100, **fields: object) -> Json:
    return evaluate(network(), images, Evaluation(suite=QUICK, n=n, facts={}, **fields), Silent())  # type: ignore[arg-type]


def verdicts(result: Json) -> list[Tensor]:
    stored = [result["clean_verdicts"], *(row["verdicts"] for row in result["attacks"])]
    return [metrics.unpack(text, result["n"]) for text in stored]


def test_accuracies_intervals_and_worst_case_follow_from_the_verdicts() -> None:
    result = run(digits())
    clean, *attacked = verdicts(result)
    assert result["clean_accuracy"] == clean.double().mean().item()
    for row, found in zip(result["attacks"], attacked, strict=True):
        assert row["robust_accuracy"] == found.double().mean().item()
        assert row["interval95"] == list(metrics.wilson(int(found.sum()), 100))
    assert result["worst_case_accuracy"] == (clean & attacked[0] & attacked[1]).double().mean().item()


def test_verdicts_are_those_of_a_plain_loop() -> None:
    from advdpnp.noise import IndexNoise

    images, model = digits(), network()
    result = run(images, n=64, chunk=64)
    x, y = images.batch(torch.arange(64))
    clean, first, _ = verdicts(result)
    assert torch.equal(clean, model(x).argmax(1) == y)
    x_adv = QUICK.attacks[0](model, x, y, noise=IndexNoise(0, torch.arange(64)))
    assert torch.equal(first, model(x_adv).argmax(1) == y)


def test_a_limit_and_a_padded_last_chunk_change_no_verdict() -> None:
    whole, part = verdicts(run(digits(), n=200)), verdicts(run(digits(), n=130))
    differing = sum(int((a[:130] != b).sum()) for a, b in zip(whole, part, strict=True))
    assert differing == 0


def test_geometry_equals_the_metrics_of_the_embeddings() -> None:
    images, model = digits(), network()
    result = run(images, n=100)
    x, y = images.batch(torch.arange(100))
    features = model.embed(x).detach()
    found = result["geometry"]
    assert found["clean"]["fdr_eq8"] == pytest.approx(metrics.fdr(features, y, 10).eq8, rel=1e-4)
    assert found["clean"]["scr"] == pytest.approx(metrics.scr(features, y, model.class_centers()), rel=1e-4)
    assert found["mean_separation_degrees"] == metrics.mean_separation_degrees(model.class_centers())
    assert found["mean_pairwise_angle_degrees"] == metrics.mean_pairwise_angle_degrees(model.class_centers())
    assert found["adversarial"]["attack"] == "pgd-2 linf 0.1"


def test_images_of_one_class_have_verdicts_and_no_geometry() -> None:
    lines: list[str] = []

    class Told(Silent):
        def on_note(self, text: str) -> None:
            lines.append(text)

    one = evaluate(network(), digits(), Evaluation(suite=QUICK, n=1, facts={}), Told())
    assert "geometry" not in one and one["clean_verdicts"] in ("AA==", "gA==")
    assert len(lines) == 1 and "geometry needs two, and is left out" in lines[0]
    assert "geometry" in run(digits(), n=20)


def test_a_metric_that_is_registered_is_measured_and_stored_with_its_declaration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "declared" not in run(digits(), n=20)["geometry"]
    samples = Metric[OfFeatures](name="samples", title="N", measure=lambda f, y, c: float(len(f)))
    classes = Metric[OfCenters](name="classes", title="C", measure=lambda c: float(len(c)), better="higher")
    monkeypatch.setitem(metrics.FEATURE_METRICS, "samples", samples)
    monkeypatch.setitem(metrics.CENTER_METRICS, "classes", classes)
    found = run(digits(), n=20)["geometry"]
    assert (found["clean"]["samples"], found["adversarial"]["samples"], found["classes"]) == (20, 20, 10)
    assert found["declared"] == {
        "samples": {"title": "N", "better": "", "unit": ""},
        "classes": {"title": "C", "better": "higher", "unit": ""},
    }


def test_an_interrupted_evaluation_resumes_to_the_same_result(tmp_path: Path) -> None:
    partial = tmp_path / "two.partial.json"

    class Stop(Silent):
        left = 12

        def on_images(self, images: int) -> None:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    wanted = Evaluation(suite=QUICK, n=300, facts={}, chunk=64, partial=partial)
    with pytest.raises(KeyboardInterrupt):
        evaluate(network(), digits(), wanted, Stop())
    counted = []

    class Count(Silent):
        def on_attack(self, name: str, images: int) -> None:
            counted.append(images)

    resumed = evaluate(network(), digits(), Evaluation(**{**vars(wanted), "resume": True}), Count())
    whole = run(digits(), n=300, chunk=64)
    assert counted == [0, 0, 300 - 2 * 64]
    for result in (resumed, whole):
        for row in result["attacks"]:
            del row["seconds"]
    assert resumed == whole


def test_a_partial_result_of_another_protocol_is_refused(tmp_path: Path) -> None:
    partial = tmp_path / "two.partial.json"
    run(digits(), n=50, partial=partial)
    with pytest.raises(ValueError, match=r"another protocol .*n: 50, not 60"):
        run(digits(), n=60, partial=partial, resume=True)


def test_when_memory_runs_out_the_chunk_is_halved_and_recorded() -> None:
    class Hungry(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 40:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return x.flatten(1)[:, :10]

    wanted = Evaluation(suite=QUICK, n=100, facts={})
    result = evaluate(Hungry().eval(), digits(), wanted, Silent())
    assert result["chunk"] == 32 and result["n"] == 100
    assert "geometry" not in result


def test_training_mode_bad_labels_and_bad_limits_are_refused() -> None:
    images = digits()
    with pytest.raises(ValueError, match="training mode"):
        evaluate(network().train(), images, Evaluation(suite=QUICK, n=10, facts={}), Silent())
    with pytest.raises(ValueError, match="--limit must be from 1 to 360"):
        run(images, n=361)
    wrong = Images(images.pixels, images.labels + 5, images.levels)
    with pytest.raises(ValueError, match=r"labels must be in \[0, 10\)"):
        run(wrong)


def pictures(model: Classifier, n: int) -> Pictured:
    wanted = Evaluation(suite=Suite("pictures", "one attack", (PGD(eps=0.1, steps=2),), features=None), n=n, facts={})
    return pictured(model, digits(), wanted, tuple("0123456789"), 10, Silent())


def test_samples_show_one_image_of_each_class_within_the_budget() -> None:
    arrays = pictures(network(), 50).samples()
    assert arrays["labels"].tolist() == list(range(10))
    assert abs(arrays["adversarial"] - arrays["clean"]).max() <= 0.1 + 1e-6
    assert str(arrays["attack"]) == "pgd-2 linf 0.1"


def test_embeddings_are_those_of_the_network() -> None:
    model, images = network(backbone="tiny-2d"), digits()
    arrays = pictures(model, 50).plane()
    assert arrays is not None
    x, y = images.batch(torch.arange(50))
    assert arrays["clean"].shape == (50, 2) and arrays["centers"].shape == (10, 2)
    torch.testing.assert_close(torch.from_numpy(arrays["clean"]), model.embed(x).detach(), rtol=1e-4, atol=1e-5)
    assert arrays["labels"].tolist() == y.tolist()


def test_a_suite_without_attacks_measures_clean_accuracy_alone() -> None:
    result = evaluate(network(), digits(), Evaluation(suite=suite("clean", 0.1), n=360, facts={}), Silent())
    assert result["attacks"] == [] and result["worst_case_accuracy"] == result["clean_accuracy"]
    assert "geometry" not in result
