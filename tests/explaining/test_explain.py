"""Numbers of explanations against independent ones: float64 distances and angles, closed forms, what is read again."""

from pathlib import Path

import numpy as np
import pytest
import torch

from advdpnp import api, data
from advdpnp.explaining import explanations_text
from advdpnp.threat import Norm
from explaining.conftest import Told
from explaining.networks import QUICK, Affine, Needle, Shift

# Of the test set, in `told`.
ROWS = (0, 1, 2, 3, 17)


def digits(*positions: int) -> tuple[torch.Tensor, torch.Tensor]:
    return data.load("digits", "test").batch(torch.tensor(positions))


def test_distances_and_angles_before_and_after_are_those_of_numpy(scored: Path, told: Told) -> None:
    model = api.load(scored)
    x, _ = digits(*ROWS)
    centers = model.class_centers().detach().double().numpy()
    compared = 0
    for row, image in enumerate(told.found.explained):
        points = [(x[row], image.prediction)]
        if image.adversarial is not None:
            points.append((torch.from_numpy(image.adversarial.x), image.adversarial.answer))
        for point, answer in points:
            with torch.no_grad():
                f = model.embed(point[None])[0].double().numpy()
            far = np.sqrt(((f - centers) ** 2).sum(axis=1))
            cosine = centers @ f / (np.linalg.norm(centers, axis=1) * np.linalg.norm(f))
            assert np.allclose([center.distance for center in answer.prototypes], far, rtol=1e-5)
            assert np.allclose(
                [center.angle_degrees for center in answer.prototypes], np.degrees(np.arccos(cosine)), atol=1e-3
            )
            compared += 1
    assert compared >= 8


def test_labels_of_test_images_are_known(told: Told) -> None:
    _, y = digits(*ROWS)
    images = told.found.explained
    assert [image.label for image in images] == [str(int(label)) for label in y]
    assert [image.prediction.file for image in images] == [f"test:{row}" for row in ROWS]
    assert all(image.right == (image.prediction.class_name == image.label) for image in images)


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1.0), ("l2", 2.0)])
def test_the_smallest_eps_on_an_affine_network_is_that_of_the_closed_form(norm: Norm, dual: float) -> None:
    network = Affine(3, 48).eval()
    x = 0.5 + 0.02 * torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    y = network(x).argmax(dim=1)
    exact = network.distances(x, y, dual)
    found = api.explain(network, x, norm=norm)
    radii = torch.tensor([image.smallest_eps for image in found.explained], dtype=torch.float64)
    # Upper bounds: at most 0.5 % above, and below by no more than fp32 rounds.
    assert torch.all(radii >= exact * (1 - 1e-4)) and torch.all(radii <= exact * 1.005)
    assert found.prototypes_are is None and found.checkpoint is None
    assert set(found.explained[0].scores) == {"max-softmax", "max-logit", "energy"}


def test_the_adversarial_image_is_within_its_eps_and_misclassified(scored: Path, told: Told) -> None:
    model, (x, y) = api.load(scored), digits(*ROWS)
    images = told.found.explained
    broken = [row for row, image in enumerate(images) if image.adversarial is not None]
    stored = torch.from_numpy(np.load(told.folder / "adversarial.npy", allow_pickle=False))
    assert len(stored) == len(broken) >= 4
    for row, x_adv in zip(broken, stored):
        image = images[row]
        assert image.adversarial is not None
        said = model(x_adv[None]).argmax().item()
        assert x_adv.min() >= 0 and x_adv.max() <= 1 and said != y[row] == int(image.label or "")
        assert image.adversarial.answer.class_name == str(said)
        assert (x_adv.double() - x[row].double()).abs().max().item() == pytest.approx(image.smallest_eps, rel=1e-6)
        assert image.smallest_eps is not None and image.smallest_eps <= told.found.largest_eps


def test_the_picture_that_is_stored_is_read_again_as_what_is_told(scored: Path, told: Told) -> None:
    x, y = digits(*ROWS)
    standing = 0
    for row, image in enumerate(told.found.explained):
        if image.adversarial is None:
            continue
        picture = image.adversarial.stored
        assert picture is not None and picture.file == f"adversarial-{row + 1}.png"
        again = api.predict(scored, told.folder / picture.file, neighbors=0).predicted[0]
        assert again.class_name == picture.answer.class_name
        # The seventeen levels of these digits.
        far = np.abs(again.pixels / 16 - x[row].double().numpy()).max()
        assert far == pytest.approx(picture.distance, rel=1e-6)
        assert picture.at_goal == (again.class_name != str(int(y[row])))
        standing += picture.at_goal
    assert standing >= 3


def test_rounding_that_undoes_the_attack_is_said_plainly(tmp_path: Path) -> None:
    x = torch.full((1, 1, 2, 2), 128 / 255)
    found = api.explain(Needle().eval(), x, attack=Shift(), out=tmp_path)
    image = found.explained[0]
    assert image.adversarial is not None and image.adversarial.stored is not None
    assert image.adversarial.answer.class_name == "1"
    assert not image.adversarial.stored.at_goal and image.adversarial.stored.answer.class_name == "0"
    said = "Rounding to whole levels of 1/255 undoes it"
    assert said in (tmp_path / "index.html").read_text()


def test_an_image_that_is_wrong_has_eps_0(bare: Path) -> None:
    x, _ = digits(5)
    wrong = (int(api.load(bare)(x).argmax()) + 1) % 10
    found = api.explain(bare, x, label=wrong, neighbors=0).explained[0]
    assert found.right is False and found.at_goal and found.smallest_eps == 0.0 and found.adversarial is None


def test_a_target_is_what_the_image_becomes(bare: Path) -> None:
    x, _ = digits(0)
    said = int(api.load(bare)(x).argmax())
    other = (said + 3) % 10
    found = api.explain(bare, x, target=str(other), attack=QUICK, neighbors=0)
    image = found.explained[0]
    assert image.adversarial is not None and image.adversarial.answer.class_name == str(other)
    assert image.attacked_class is None and image.target == str(other)
    already = api.explain(bare, x, target=said, attack=QUICK, neighbors=0).explained[0]
    assert already.at_goal and already.adversarial is None and already.smallest_eps == 0.0


def test_what_is_not_found_is_censored(bare: Path, tmp_path: Path) -> None:
    found = api.explain(bare, "test:0", attack=QUICK.replace("0.4", "0.0001"), neighbors=0, out=tmp_path)
    assert found.explained[0].smallest_eps is None and not found.explained[0].at_goal
    assert "is no proof that there is none" in (tmp_path / "index.html").read_text()
    assert not list(tmp_path.glob("adversarial*"))


def test_an_attack_of_one_radius_finds_what_lies_within(bare: Path) -> None:
    x, _ = digits(0)
    found = api.explain(bare, x, attack="pgd:eps=0.3,steps=20,step_size=0.03", neighbors=0)
    image = found.explained[0]
    assert not found.seeks_nearest and image.adversarial is not None
    assert image.adversarial.distance == pytest.approx(0.3, rel=1e-5)
    assert "not for the smallest" in explanations_text(found)


def test_an_image_alone_and_among_others_is_told_the_same_up_to_rounding(bare: Path, told: Told) -> None:
    alone = api.explain(bare, "test:17", attack=QUICK, neighbors=0).explained[0]
    among = told.found.explained[-1]
    assert alone.prediction.class_name == among.prediction.class_name
    assert alone.smallest_eps == pytest.approx(among.smallest_eps, rel=1e-3)


def test_a_network_of_one_output_has_two_classes() -> None:
    class One(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 4 * (x.flatten(1).sum(dim=1, keepdim=True) - 2.2)

    image = api.explain(One().eval(), torch.full((1, 1, 2, 2), 0.5), class_names=("dark", "light")).explained[0]
    # The sum of four pixels must grow by 0.2.
    assert image.prediction.class_name == "dark" and image.smallest_eps == pytest.approx(0.05, rel=1e-3)
