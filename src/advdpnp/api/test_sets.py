"""The images that a run is tested on: its own, the same ones given again, or others that are alike."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from advdpnp import data
from advdpnp.api.run_images import images_of, remember_images
from advdpnp.api.stored_evaluation import EvaluationOptions
from advdpnp.attacks import Suite
from advdpnp.callbacks import EvaluationCallback
from advdpnp.data import DataSpec, FolderSpec, GivenSpec, Images, KnownImages
from advdpnp.data.corruption_sources import GENERATED, CorruptionSource, corruption_source
from advdpnp.data.digests import image_digests
from advdpnp.data.stratify import split_positions
from advdpnp.experiments import Experiment
from advdpnp.runs import Run


@dataclass(frozen=True, eq=False)
class Tested:
    """A test set, and what is to be said of it.

    Args:
        facts: about the data.
        images: the test images.
        other: how results call it, where it is not the run's own; else "".
        remarks: what limits the meaning of the numbers, a line each.
        missing: positions of images that are no longer there, in a folder that has changed.
    """

    facts: DataSpec
    images: Images
    other: str = ""
    remarks: list[str] = field(default_factory=list)
    missing: tuple[int, ...] = ()

    def chosen(self, how: EvaluationOptions) -> EvaluationOptions:
        """Options that leave out the images that are missing: the others keep their positions, and so their noise.

        Raises:
            ValueError: none of the images that the options choose is there.
        """
        if not self.missing:
            return how
        n, chosen = how.which(len(self.images))
        left = tuple(position for position in chosen or range(n) if position not in self.missing)
        if not left:
            raise ValueError("none of the images that --indices or --limit chooses is there any more: choose others")
        return replace(how, indices=left, limit=None)


def test_set(run: Run, done: Experiment, on_data: Any, data_root: Path | None) -> Tested:
    """The images to test a run on.

    Args:
        run: the run's folder.
        done: its experiment.
        on_data: None for its own; a data set, or its name; or images in memory, as `advdpnp.given` takes them.
        data_root: folder of the data files.
    Raises:
        ValueError: images of another shape or of other classes. FileNotFoundError: images that are not at hand.
    """
    trained, remarks = done.data, list[str]()
    facts = trained if on_data is None else named_or_given(on_data, trained, remarks)
    if isinstance(facts, GivenSpec) and facts.images is not None:
        facts, line = recognized(trained, facts)
        # What was done to the run's own images was done to those of training too.
        remarks = [*remarks, line] if line else []
    own = _own_images(run, trained, facts, data_root)
    if own is not None:
        return replace(own, remarks=[*remarks, *own.remarks])
    check_alike(trained, facts)
    if facts.name == trained.name and isinstance(facts, FolderSpec):
        # Another folder of the same name.
        facts = replace(facts, name=f"{facts.name}-{facts.checksum[:8]}")
    images = data.load(facts, "test", data_root)
    if isinstance(facts, FolderSpec):
        remarks += _trained_on(remember_images(run, trained, data_root), images)
    return Tested(facts, images, facts.name if facts.name != trained.name else "", remarks)


def corruptions_of(
    suite: Suite, facts: DataSpec, images: Images, data_root: Path | None, callback: EvaluationCallback
) -> CorruptionSource:
    """Where corrupted images of a test set come from, told to the callback; nothing is looked for without need.

    Args:
        suite: what is measured.
        facts: about the test set.
        images: all of it.
        data_root: folder of the data files.
        callback: told whether they are generated.
    Raises:
        ValueError: a test set that is corrupted already, or damaged arrays.
    """
    if not suite.corruptions:
        return GENERATED
    source, remark = corruption_source(facts, images, data.data_root(data_root))
    callback.on_note(remark or f"corrupted images are {source.name}")
    return source


def _own_images(run: Run, trained: DataSpec, facts: DataSpec, data_root: Path | None) -> Tested | None:
    """The run's own test images, at the place where they are; None if the facts are about other data."""
    if not isinstance(trained, FolderSpec) or not isinstance(facts, FolderSpec):
        return Tested(facts, data.load(facts, "test", data_root)) if facts == trained else None
    if (trained.image_shape, trained.split_seed) != (facts.image_shape, facts.split_seed):
        return None
    moved = facts.path != trained.path and not Path(trained.path).exists()
    if not moved and facts.path != trained.path and facts.checksum != trained.checksum:
        return None
    here = replace(trained, path=facts.path)
    try:
        found = images_of(run, here, "test", data_root)
    except ValueError:
        if not moved:
            raise
        # Not the run's folder at another place, but another one.
        return None
    return Tested(here, found.images, "", [f"{found.remark}, and are evaluated"] * bool(found.remark), found.missing)


def _trained_on(known: KnownImages | None, images: Images) -> list[str]:
    """A warning where images of another folder are among those that a run was trained on."""
    trained = {image.digest for image in known.train} if known is not None else set()
    digests = image_digests(images.pixels.cpu().numpy())
    count = sum(digest in trained for digest in digests)
    if not count:
        return []
    return [f"{count} of the {len(digests)} test images are among those that the run was trained on"]


def named_or_given(on_data: Any, trained: DataSpec | None, remarks: list[str]) -> DataSpec:
    """Facts about what a caller wants to test on: a data set, its name, or images in memory.

    Args:
        on_data: what the caller gave.
        trained: facts about the data of the network, whose size and classes images in memory are taken for.
        remarks: lines are added on what was done to the images.
    """
    if isinstance(on_data, DataSpec):
        return on_data
    if isinstance(on_data, str):
        return data.spec(on_data)
    return data.given(
        on_data if hasattr(on_data, "keys") else {"test": on_data},
        class_names=trained.class_names if trained else (),
        image_size=_side(trained),
        split_seed=trained.split_seed if isinstance(trained, GivenSpec) else 0,
        tell=lambda line: remarks.append(line) if "become" in line else None,
    )


def _side(trained: DataSpec | None) -> int | None:
    """The size that the images of a run were resized to; None where they were taken as they are."""
    if trained is None or not isinstance(trained, GivenSpec | FolderSpec):
        return None
    _, height, width = trained.image_shape
    return height if height == width else None


def recognized(trained: DataSpec, tested: GivenSpec) -> tuple[DataSpec, str]:
    """What images in memory are to a run: its own test images, under its own name, or other ones.

    Returns:
        Facts to test with; and a line on what differs, "" for nothing.
    """
    assert tested.images is not None
    test = tested.images["test"]
    if not isinstance(trained, GivenSpec):
        return tested, ""
    own = replace(trained, images={"test": test})
    whole = not trained.test_checksum
    if not whole and trained.test_checksum == tested.test_checksum:
        return own, ""
    same = whole and tested.train_checksum == trained.train_checksum and not tested.test_checksum
    if same and tested.split_seed == trained.split_seed:
        # The same images without test images among them: the same ones were set aside.
        return own, ""
    if tested.test_checksum == trained.train_checksum and whole:
        _, rows = split_positions(test.labels, trained.split_seed)
        return replace(trained, images={"test": test.select(rows)}), ""
    named = replace(tested, name=f"{tested.name}-{tested.fingerprint[:8]}") if tested.name == trained.name else tested
    if same:
        return named, (
            f"the run's images were split with seed {trained.split_seed}, these with {tested.split_seed}: most of "
            "these test images are among those that it was trained on"
        )
    if tested.test_checksum == trained.train_checksum:
        return named, "these are the images that the run was trained on, so the accuracy says nothing of new ones"
    return named, (
        f"these are other images than the run's own test images (checksum {tested.fingerprint[:12]}, not "
        f"{trained.fingerprint[:12]}): the result is called {named.name}"
    )


def check_alike(trained: DataSpec, tested: DataSpec) -> None:
    """Raise ValueError unless a network that was trained on the first data can be tested on the second."""
    for what, expected, got in (
        ("images of", trained.image_shape, tested.image_shape),
        ("the classes", trained.class_names, tested.class_names),
    ):
        if expected != got:
            raise ValueError(
                f"the run was trained on {what} {_short(expected)} ({trained.name}), but {tested.name} has "
                f"{_short(got)}: choose a test set that is alike"
            )


def _short(values: tuple[object, ...]) -> str:
    text = ", ".join(map(str, values[:4]))
    return f"({text})" if len(values) <= 4 else f"({text}, ...), {len(values)} in all"
