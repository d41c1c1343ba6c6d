"""HEIC photos, which telephones make: read where pillow-heif is installed, else counted and named."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from advdpnp.data import folder_spec
from advdpnp.data.folder import decode as decoding
from advdpnp.data.folder.decode import decode, heif_text, is_image
from advdpnp.predicting.inputs import find_images
from data.pictures import write


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_reads_heif", lambda: False)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADVDPNP_DATA", str(tmp_path / "data"))
    folder = write(tmp_path / "photos", {"cat": 4, "dog": 4})
    for name in ("cat/a.heic", "cat/b.HEIC", "dog/c.heif"):
        (folder / name).write_bytes(b"ftypheic")
    return folder


@pytest.mark.usefixtures("without")
def test_without_the_package_they_are_counted_and_the_command_is_named(photos: Path) -> None:
    told: list[str] = []
    spec = folder_spec(photos, 8, tell=told.append)
    assert spec.train_size + spec.test_size == 8
    text = "3 HEIC photos are not used, since only pillow-heif reads them: pip install pillow-heif"
    assert told == [f"warning: {text}"] and heif_text({".heic": 1, ".txt": 9}).startswith("1 HEIC photo is not used")
    for path in (photos / "cat").rglob("*.*"):
        if is_image(path):
            path.rename(path.with_suffix(".heic"))
    with pytest.raises(ValueError, match=r"at least 3 images; got cat \(0\): .*; 7 HEIC photos are not used"):
        folder_spec(photos, 8)


@pytest.mark.usefixtures("without")
def test_loose_ones_are_counted_too(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"")
    with pytest.raises(ValueError, match=r"at least 2; got none: .*; 1 HEIC photo is not used"):
        folder_spec(tmp_path, 8)


@pytest.mark.usefixtures("without")
def test_an_answer_for_one_says_what_is_missing(photos: Path) -> None:
    (found,) = [path for path in find_images([photos / "dog"]) if path.suffix == ".heif"]
    with pytest.raises(ValueError, match="got: a HEIC photo, which only pillow-heif reads: pip install pillow-heif"):
        decode(found, 8)


def test_with_the_package_they_are_images(photos: Path) -> None:
    heif: Any = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    for place, name in enumerate(("cat/a.heic", "cat/b.HEIC", "dog/c.heif")):
        Image.new("RGB", (64, 48), (0, 0, 80 * place)).save(photos / name, "HEIF", quality=-1)
    spec = folder_spec(photos, 8)
    assert spec.train_size + spec.test_size == 11
    pixels = decode(photos / "dog" / "c.heif", 8)
    assert abs(pixels[2].astype(int) - 160).max() <= 4 and pixels[:2].max() <= 4
