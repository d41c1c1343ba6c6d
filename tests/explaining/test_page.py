"""The page and its files: numbers, hostile names, no network, one picture for each image, nothing left of before."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from advdpnp import api
from advdpnp.explaining import explanations_text, write_explanations
from advdpnp.explaining.thumbnails import difference
from explaining.conftest import Told
from explaining.networks import QUICK, Affine, Shift

HOSTILE = ("<script>alert(1)</script>", 'a" onload="x', "right\u202eleft\nline", "half \udcff")


class Tags(HTMLParser):
    """Start tags of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.tags if name == tag)


@pytest.fixture(scope="module")
def page(told: Told) -> Tags:
    return Tags((told.folder / "index.html").read_text())


def test_the_page_has_the_numbers_of_the_json(told: Told, page: Tags) -> None:
    stored = json.loads((told.folder / "explain.json").read_text())
    of_the_file = {"files", "sha256"}
    assert {name: value for name, value in stored.items() if name not in of_the_file} == told.found.json()
    for image in stored["images"]:
        assert f"{image['class']}, {100 * image['probability']:.1f} %" in page.text
        nearest = min(image["prototypes"], key=lambda center: center["angle_degrees"])
        place = f"{nearest['class']} (distance {nearest['distance']:.4g}, angle {nearest['angle_degrees']:.1f}°)"
        assert f"The nearest prototype by angle is {place}" in page.text
        if image["adversarial"] is not None:
            assert f"{image['smallest_eps']:.3g} in ℓ∞" in page.text
            assert image["adversarial"]["class"] != image["label"]
    assert "0.1, the usual radius of digits" in page.text


def test_the_page_needs_no_other_file_and_no_network(told: Told, page: Tags) -> None:
    assert not list(page.named("script")) and not list(page.named("link")) and not list(page.named("iframe"))
    assert all(str(image["src"]).startswith("data:image/png;base64,") for image in page.named("img"))
    links = {str(link["href"]) for link in page.named("a")}
    assert all(link.startswith("#image-") or (told.folder / link).is_file() for link in links)
    assert "url(" not in (told.folder / "index.html").read_text()
    policy = [str(meta.get("content")) for meta in page.named("meta") if "http-equiv" in meta]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_every_picture_is_told_in_words(page: Tags) -> None:
    images = list(page.named("img"))
    # Those of the list of images are beside their names.
    assert sum(image["alt"] == "" for image in images) == 5
    assert len([image for image in images if image["alt"]]) > 5 * 4
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.named("svg"))


def test_hostile_names_are_escaped(tmp_path: Path) -> None:
    network = Affine(4, 12).eval()
    x = torch.full((2, 3, 2, 2), 0.5)
    found = api.explain(network, x, class_names=HOSTILE, label=HOSTILE[0], out=tmp_path)
    read = Tags((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert not list(read.named("script")) and not any("onload" in attributes for _, attributes in read.tags)
    assert HOSTILE[0] in read.text and "right\\u202eleft\\nline" in read.text and "half \\udcff" in read.text
    assert "\u202e" not in explanations_text(found)
    assert json.loads((tmp_path / "explain.json").read_text())["images"][0]["label"] == HOSTILE[0]
    assert (tmp_path / "explain.png").stat().st_size > 5000


def test_the_same_images_give_the_same_bytes(told: Told, tmp_path: Path) -> None:
    write_explanations(told.found, tmp_path)
    names = sorted(path.name for path in told.folder.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    # matplotlib writes its version, but no time.
    assert all((tmp_path / name).read_bytes() == (told.folder / name).read_bytes() for name in names)


def test_adversarial_images_of_an_earlier_call_are_removed_and_no_other_file(told: Told, tmp_path: Path) -> None:
    write_explanations(told.found, tmp_path)
    (tmp_path / "adversarial-of-mine.png").write_bytes(b"mine")
    former = set(json.loads((tmp_path / "explain.json").read_text())["files"])
    assert "adversarial-1.png" in former
    api.explain(Affine(3, 12).eval(), torch.full((1, 3, 2, 2), 0.5), attack=QUICK, out=tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {
        *("index.html", "explain.png", "explain.json", "adversarial.npy", "adversarial.png", "adversarial-of-mine.png")
    }


def test_the_difference_is_that_of_the_images_themselves_not_of_their_bytes() -> None:
    x = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    adversarial = api.explain(Affine(3, 48).eval(), x, attack=QUICK).explained[0].adversarial
    assert adversarial is not None
    shown, times = difference(adversarial.change)
    assert np.array_equal(adversarial.change, adversarial.x - x[0].numpy())
    # The largest change, which is the distance in linf, is drawn as black or white; grey is 127.5.
    assert times == pytest.approx(0.5 / adversarial.distance, rel=1e-5)
    drawn = 127.5 + 127.5 * adversarial.change.transpose(1, 2, 0) / adversarial.distance
    assert np.abs(shown - drawn).max() <= 0.51 and {shown.min(), shown.max()} & {0, 255}


def test_images_of_other_channels_have_no_picture_file(tmp_path: Path) -> None:
    found = api.explain(Affine(3, 8).eval(), torch.full((1, 2, 2, 2), 0.5), attack=Shift(0.5), out=tmp_path)
    image = found.explained[0]
    assert image.adversarial is None or image.adversarial.stored is None
    assert not list(tmp_path.glob("*adversarial*.png")) and (tmp_path / "index.html").is_file()


def test_the_picture_is_as_wide_as_what_it_shows(told: Told) -> None:
    with Image.open(told.folder / "explain.png") as picture:
        assert picture.width > 1500 and picture.height == 150 * (0.5 + 5 * 2.0)


def test_no_times_and_no_machine_in_the_files(told: Told) -> None:
    page = (told.folder / "index.html").read_text()
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b", page)
    assert np.load(told.folder / "adversarial.npy", allow_pickle=False).dtype == np.float32
