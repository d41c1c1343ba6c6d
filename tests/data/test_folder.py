"""Folders of images by class: what is refused, how they are split, and what is kept of them."""

import json
import os
import re
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from advdpnp.data import DataSpec, FolderSpec, data_root, folder_spec, load, stratified
from advdpnp.data.folder import decode as decoding
from advdpnp.data.folder.decode import decode
from advdpnp.data.folder.folder_spec import split_positions
from advdpnp.experiments import experiment_on, from_config
from data.pictures import write


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADVDPNP_DATA", str(tmp_path / "data"))
    return write(tmp_path / "my pictures")


def kept(spec: FolderSpec) -> Path:
    """Where the decoded images are."""
    (place,) = (p for p in (data_root() / "folders").iterdir() if not p.name.startswith("."))
    return place


def split_of(spec: FolderSpec) -> dict[str, list[str]]:
    return dict(json.loads((kept(spec) / "split.json").read_text("utf-8")))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are decoded from here on."""
    paths: list[Path] = []
    real: Callable[[Path, int], np.ndarray] = decoding._decode
    monkeypatch.setattr(decoding, "_decode", lambda path, size: (paths.append(path), real(path, size))[1])
    return paths


def test_the_facts_are_those_of_the_folder(pictures: Path) -> None:
    spec = folder_spec(pictures, 16)
    assert spec == FolderSpec(
        name="folder-my-pictures",
        image_shape=(3, 16, 16),
        class_names=("avión", "cat & dog", "船"),
        train_size=61 - 6,
        test_size=3 + 2 + 1,
        eps=8 / 255,
        holdout=6,
        augmentation=spec.augmentation,
        levels=255,
        path=str(pictures),
        split_seed=0,
        checksum=spec.checksum,
    )
    assert str(spec.augmentation) == "crop, 2 pixels of reflect padding, flip"


def test_the_images_are_the_decoded_files_with_the_labels_of_their_folders(pictures: Path) -> None:
    spec = folder_spec(pictures, 16)
    split = split_of(spec)
    train, test = load(spec, "train"), load(spec, "test")
    assert (len(train), len(test), train.levels) == (55, 6, 255)
    assert train.pixels.is_contiguous() and train.labels.dtype == torch.int64
    for images, names in ((train, sorted(split["train"] + split["validation"])), (test, split["test"])):
        assert [spec.class_names[label] for label in images.labels] == [name.split("/")[0] for name in names]
        for pixels, name in zip(images.pixels, names, strict=True):
            np.testing.assert_array_equal(pixels.numpy(), decode(pictures / name, 16))


def test_the_stored_validation_images_are_those_that_training_holds_out(pictures: Path) -> None:
    from advdpnp.api import make_task

    spec = folder_spec(pictures, 16)
    split, train = split_of(spec), load(spec, "train")
    names = sorted(split["train"] + split["validation"])
    held = stratified(train.labels, spec.holdout, "holdout").tolist()
    assert [names[row] for row in held] == split["validation"]
    task = make_task(experiment_on(spec, "tiny", "at"), torch.device("cpu"))
    assert task.holdout is not None and (len(task.train), len(task.holdout)) == (49, 6)
    for pixels, name in zip(task.holdout.pixels, split["validation"], strict=True):
        np.testing.assert_array_equal(pixels.numpy(), decode(pictures / name, 16))


counts = st.lists(st.integers(3, 60), min_size=2, max_size=6)


@given(counts=counts, seed=st.integers(-5, 2**70), data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_split_is_disjoint_complete_and_has_a_tenth_of_each_class(
    counts: list[int], seed: int, data: st.DataObject
) -> None:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    train, test = split_positions(labels, seed)
    assert sorted(train.tolist() + test.tolist()) == list(range(len(labels)))
    assert train.tolist() == sorted(train.tolist())
    expected = [max(1, int(count / 10 + 0.5)) for count in counts]
    assert torch.bincount(labels[test], minlength=len(counts)).tolist() == expected
    again = split_positions(labels.clone(), seed)
    assert torch.equal(again[1], test)
    # A class's choice does not depend on the sizes of the others.
    other = data.draw(st.integers(3, 60))
    longer = torch.cat([labels, torch.full((other,), len(counts))])
    assert set(split_positions(longer, seed)[1].tolist()) >= set(test.tolist())


def test_the_split_never_changes_from_version_to_version() -> None:
    train, test = split_positions(torch.tensor([0] * 20 + [1] * 13), 7)
    assert test.tolist() == [7, 5, 21]
    assert len(train) == 30


def test_another_split_seed_gives_another_test_set_and_the_training_seed_does_not(pictures: Path) -> None:
    labels = torch.repeat_interleave(torch.arange(3), 100)
    chosen = [frozenset(split_positions(labels, seed)[1].tolist()) for seed in range(8)]
    assert len(set(chosen)) == 8
    spec, other = folder_spec(pictures, 16), folder_spec(pictures, 16, split_seed=1)
    assert spec.checksum == other.checksum
    assert not torch.equal(load(spec, "test").pixels, load(other, "test").pixels)
    seeds = [experiment_on(spec, "tiny", "at", seed=seed).data for seed in (0, 1)]
    assert torch.equal(load(seeds[0], "test").pixels, load(seeds[1], "test").pixels)


def test_the_first_test_images_are_of_several_classes(tmp_path: Path) -> None:
    labels = torch.repeat_interleave(torch.arange(4), 200)
    _, test = split_positions(labels, 0)
    assert set(labels[test[:20]].tolist()) == {0, 1, 2, 3}


def test_an_experiment_on_a_folder_is_stored_whole_and_read_back(pictures: Path) -> None:
    wanted = experiment_on(folder_spec(pictures, 16), "tiny", "adv-dpnp")
    stored = json.loads(json.dumps(wanted.config()))
    shutil.rmtree(pictures)
    assert from_config(stored) == wanted
    assert from_config(stored).build().class_centers().shape[0] == 3


def test_what_is_kept_is_not_decoded_again(pictures: Path, decoded: list[Path]) -> None:
    first = folder_spec(pictures, 16)
    assert len(decoded) == 61
    assert folder_spec(pictures, 16) == first
    load(first, "train"), load(first, "test")
    assert len(decoded) == 61
    assert folder_spec(pictures, 8).checksum != first.checksum
    assert len(decoded) == 122


def test_touched_files_are_decoded_again_and_equal_ones_are_no_change(pictures: Path, decoded: list[Path]) -> None:
    spec = folder_spec(pictures, 16)
    os.utime(pictures / "船" / "1 image.PNG", ns=(1, 1))
    load(spec, "test")
    assert len(decoded) == 122
    assert folder_spec(pictures, 16) == spec
    assert len(decoded) == 122


def change_pixels(folder: Path) -> None:
    Image.new("RGB", (12, 12), "red").save(folder / "船" / "1 image.PNG")


def add(folder: Path) -> None:
    shutil.copy(folder / "船" / "1 image.PNG", folder / "船" / "more.png")


def remove(folder: Path) -> None:
    (folder / "船" / "1 image.PNG").unlink()


def rename_class(folder: Path) -> None:
    (folder / "船").rename(folder / "艦")


@pytest.mark.parametrize("change", [change_pixels, add, remove, rename_class])
def test_a_stored_run_refuses_a_folder_that_has_changed(pictures: Path, change: Callable[[Path], None]) -> None:
    spec = folder_spec(pictures, 16)
    change(pictures)
    with pytest.raises(ValueError, match=r"my pictures has changed: expected images with checksum \w{12}") as caught:
        load(spec, "test")
    assert "\n" not in str(caught.value)
    load(folder_spec(pictures, 16), "test")


def test_a_folder_that_is_gone_is_not_served_from_what_is_kept(pictures: Path) -> None:
    spec = folder_spec(pictures, 16)
    shutil.rmtree(pictures)
    message = "my pictures is not there: put it back, or give its new place as --data folder:PATH"
    with pytest.raises(FileNotFoundError, match=f"{message}; its decoded images are still in .*but are not used"):
        load(spec, "test")
    shutil.rmtree(data_root())
    with pytest.raises(FileNotFoundError, match=f"{message}$"):
        load(spec, "test")


def flip_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def pickled(path: Path) -> None:
    np.save(path.with_suffix(".npy"), np.array([{}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize("damage", [flip_byte, empty, halve, Path.unlink, pickled])
@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "facts.json"])
def test_damage_to_what_is_kept_is_found_and_repaired(
    pictures: Path, name: str, damage: Callable[[Path], None], decoded: list[Path]
) -> None:
    spec = folder_spec(pictures, 16)
    before = load(spec, "test").pixels
    damage(kept(spec) / name)
    assert torch.equal(load(spec, "test").pixels, before)
    assert folder_spec(pictures, 16) == spec
    assert torch.equal(load(spec, "test").pixels, before)
    assert len(decoded) in (61, 122)


def without_checksum(text: str) -> str:
    return re.sub(r'"sha256": "[^"]*",', "", text)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: re.sub(r'"checksum": "..', '"checksum": "xx', text),
        lambda text: re.sub(r'("船": )', r"\g<1>1", text),
        lambda text: without_checksum(re.sub(r'("船": )\d+', r"\g<1>9007199254740993", text)),
        lambda text: without_checksum(re.sub(r'("船": )', r"\g<1>-", text)),
    ],
    ids=["another checksum", "another count", "a count without end and no checksum", "a count below 0"],
)
def test_facts_that_are_not_those_that_were_kept_are_as_none(pictures: Path, change: Callable[[str], str]) -> None:
    spec = folder_spec(pictures, 16)
    path = kept(spec) / "facts.json"
    before = path.read_text("utf-8")
    path.write_text(change(before), "utf-8")
    assert path.read_text("utf-8") != before
    assert folder_spec(pictures, 16) == spec and len(load(spec, "test")) == spec.test_size


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "facts.json"])
def test_a_pipe_among_what_is_kept_is_not_waited_for(pictures: Path, name: str) -> None:
    spec = folder_spec(pictures, 16)
    (kept(spec) / name).unlink()
    os.mkfifo(kept(spec) / name)
    assert folder_spec(pictures, 16) == spec and len(load(spec, "test")) == spec.test_size


def test_facts_of_foreign_shape_are_as_none(pictures: Path) -> None:
    spec = folder_spec(pictures, 16)
    for content in ("[]", "{}", '{"schema": 1}', "null", "\xff"):
        (kept(spec) / "facts.json").write_text(content, "latin1")
        assert folder_spec(pictures, 16) == spec


def test_nothing_but_the_four_files_is_left_and_a_full_disk_leaves_nothing(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = folder_spec(pictures, 16)
    assert sorted(p.name for p in kept(spec).iterdir()) == ["facts.json", "images.npy", "labels.npy", "split.json"]
    assert len(list(kept(spec).parent.iterdir())) == 1
    shutil.rmtree(kept(spec).parent)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match=r"cannot keep decoded images in .*: No space left on device; name a folder"):
        folder_spec(pictures, 16)
    assert list((data_root() / "folders").iterdir()) == []


def test_a_root_that_cannot_be_written_is_named_with_the_cure(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = data_root()
    root.write_text("a file")
    with pytest.raises(ValueError, match="must be a folder of data files; got a file"):
        folder_spec(pictures, 16)
    monkeypatch.setenv("ADVDPNP_DATA", str(root / "inside"))
    with pytest.raises(OSError, match="name a folder to write in as --data-root"):
        folder_spec(pictures, 16)


def test_broken_files_are_refused_or_left_out_and_named(pictures: Path) -> None:
    (pictures / "avión" / "1 image.PNG").write_bytes(b"")
    (pictures / "avión" / "diary.jpg").write_text("dear diary")
    (pictures / "船" / "lost.png").symlink_to(pictures / "nowhere.png")
    (pictures / "cat & dog" / "half.png").write_bytes((pictures / "cat & dog" / "1 image.PNG").read_bytes()[:200])
    told: list[str] = []
    for _ in range(2):
        with pytest.raises(
            ValueError, match=r"^4 images \(avión/1 image.PNG: .*; \.\.\.\) of 64 .* --skip-broken$"
        ) as caught:
            folder_spec(pictures, 16)
        assert "\n" not in str(caught.value)
    spec = folder_spec(pictures, 16, skip_broken=True, tell=told.append)
    assert spec.train_size + spec.test_size == 60
    assert told[0].startswith("warning: left out what cannot be read: 4 images (avión/1 image.PNG: ")
    facts = json.loads((kept(spec) / "facts.json").read_text("utf-8"))
    assert list(facts["broken"]) == [
        "avión/1 image.PNG",
        "avión/diary.jpg",
        "cat & dog/half.png",
        "船/lost.png",
    ]
    listed = [name for part in split_of(spec).values() for name in part]
    assert len(listed) == 60 and not set(listed) & set(facts["broken"])
    shutil.rmtree(data_root())
    assert len(load(spec, "train")) == spec.train_size
    with pytest.raises(ValueError, match="cannot be read"):
        folder_spec(pictures, 16)


def test_leaving_out_broken_files_may_leave_too_few(pictures: Path) -> None:
    for path in list((pictures / "船").rglob("*.*"))[:5]:
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="5 images"):
        folder_spec(pictures, 16)
    with pytest.raises(ValueError, match=r"at least 3 images; got 船 \(2\)"):
        folder_spec(pictures, 16, skip_broken=True)


def test_hidden_files_are_passed_over_and_others_are_counted(pictures: Path) -> None:
    expected = folder_spec(pictures, 16)
    (pictures / "README.md").write_text("x")
    (pictures / ".git").mkdir()
    # What an archive made on a Mac leaves behind.
    (pictures / "__MACOSX" / "船").mkdir(parents=True)
    shutil.copy(pictures / "船" / "1 image.PNG", pictures / "__MACOSX" / "船")
    (pictures / "船" / ".cache").mkdir()
    for name in (".DS_Store", ".hidden.png", ".cache/a.png", "a.txt", "b.TXT", "Thumbs.db", "noending"):
        (pictures / "船" / name).write_text("x")
    os.mkfifo(pictures / "船" / "pipe.png")
    told: list[str] = []
    assert folder_spec(pictures, 16, tell=told.append) == expected
    assert told == ["files that are no images and were not used, by ending: .txt: 2, no ending: 1"]


def test_links_are_followed_and_a_link_to_a_parent_ends(pictures: Path, tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", {"ship": 4})
    (pictures / "船" / "again").symlink_to(pictures / "船")
    (pictures / "船" / "linked").symlink_to(outside / "ship")
    (pictures / "ship").symlink_to(outside / "ship")
    spec = folder_spec(pictures, 16)
    assert spec.class_names == ("avión", "cat & dog", "ship", "船")
    assert spec.train_size + spec.test_size == 61 + 4 + 4


@pytest.mark.parametrize("target", ["/", "..", "../.."])
def test_a_link_to_a_folder_around_this_one_is_refused(target: str, pictures: Path) -> None:
    link = pictures / "船" / "up"
    link.symlink_to(pictures / target if target != "/" else "/", target_is_directory=True)
    with pytest.raises(ValueError, match=r"up is a link to /.*, a folder that this one is in: remove the link"):
        folder_spec(pictures, 16)


def test_names_are_composed_unicode_whatever_the_system_wrote(pictures: Path, tmp_path: Path) -> None:
    (pictures / "avión").rename(pictures / "avio\u0301n")
    assert folder_spec(pictures, 16).class_names[0] == "avi\u00f3n"
    (pictures / "avi\u00f3n").mkdir()
    with pytest.raises(ValueError, match="differ in Unicode form only"):
        folder_spec(pictures, 16)


def test_names_that_are_no_unicode_are_written_out(pictures: Path) -> None:
    os.rename(os.fsencode(pictures / "船"), os.fsencode(pictures) + b"/\xff\xfe")  # noqa: PTH104
    spec = folder_spec(pictures, 16)
    assert spec.class_names[0] == "\\xff\\xfe"
    assert len(load(spec, "test")) == 6


@pytest.mark.parametrize(
    ("name", "slug"),
    [("a/b c", "b-c"), ("Ünï 船", "Ünï-船"), ("...", "images"), ("x" * 99, "x" * 60), ("<b>&", "b"), ("$%", "images")],
)
def test_a_set_is_called_after_its_folder(tmp_path: Path, name: str, slug: str) -> None:
    spec = folder_spec(write(tmp_path / name, {"a": 3, "b": 3}), 8, root=tmp_path / "data")
    assert spec.name == f"folder-{slug}"
    assert len(load(spec, "test", tmp_path / "data")) == 2


@pytest.mark.parametrize("size", [0, -1, 7, 1025])
def test_a_senseless_image_size_is_refused(pictures: Path, size: int) -> None:
    with pytest.raises(ValueError, match=f"image size must be from 8 to 1024; got {size}"):
        folder_spec(pictures, size)


def test_facts_that_are_no_folders_are_read_as_before(tmp_path: Path) -> None:
    spec = folder_spec(write(tmp_path / "digits"), 8, root=tmp_path / "data")
    assert spec.name == "folder-digits"
    assert len(load("digits", "test")) == 360
    with pytest.raises(ValueError, match="has changed"):
        load(replace(spec, checksum="0" * 64), "test", tmp_path / "data")
    assert isinstance(spec, DataSpec)


@pytest.mark.slow
def test_a_folder_is_trained_and_evaluated_from_the_command_line(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from advdpnp import load as load_classifier
    from advdpnp.cli import main

    def advdpnp(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["advdpnp", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    fast = ["--set", "recipe.epochs=1", "--set", "recipe.attack.steps=1", "--out", str(tmp_path / "runs")]
    train = ["train", "--data", f"folder:{pictures}", "--image-size", "16", "--model", "tiny", "--defense", "adv-dpnp"]
    run = tmp_path / "runs/folder-my-pictures/tiny/adv-dpnp/seed-0"
    status, out, _ = advdpnp(*train, *fast)
    assert (status, out.strip()) == (0, str(run))
    assert load_classifier(run)(torch.rand(2, 3, 16, 16)).shape == (2, 3)
    status, out, _ = advdpnp("evaluate", str(run), "--suite", "quick")
    assert status == 0 and out.startswith("folder-my-pictures, first 6 test images")
    status, out, _ = advdpnp("report", str(run), "--out", str(tmp_path / "report"))
    assert status == 0 and "folder-my-pictures" in (tmp_path / "report/index.html").read_text()
    add(pictures)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        status, out, err = advdpnp("evaluate", str(run), "--suite", "quick")
    assert status == 0 and out.startswith("folder-my-pictures, first 6 test images")
    assert "has changed since this run was trained: 1 added" in err
