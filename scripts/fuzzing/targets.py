"""What is fuzzed: every reader of the package, given a file of any bytes. The riskiest come first."""

import http.client
import io
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from fuzzing import mutations
from fuzzing.mutations import Mutator
from fuzzing.seeds import ARCHIVE, DOWNLOAD, IMAGES, SHAPE


@dataclass(frozen=True)
class Target:
    """One reader.

    Args:
        name: of the target.
        seeds: the kind of file that it begins with, see `fuzzing.seeds`.
        mutate: how such a file is changed.
        read: gives a file, in an empty folder, to the reader; what it returns does not matter.
        suffix: of the file.
        named: whether what it refuses must be named by its path.
    """

    name: str
    seeds: str
    mutate: Mutator
    read: Callable[[Path], Any]
    suffix: str = ""
    named: bool = True


def _weights(path: Path) -> None:
    from advdpnp.external.checkpoint_file import read_checkpoint
    from advdpnp.external.weights import load_weights
    from advdpnp.models import build_backbone
    from advdpnp.weights_file import read_facts

    read_facts(path)
    load_weights(build_backbone("tiny", (1, 8, 8)), read_checkpoint(path), source=str(path))


def _run_file(name: str, use: Callable[[Any], Any], alone: bool = True) -> Callable[[Path], None]:
    """The file in its place in a copy of the run's folder; `alone` without its other evaluations, which take time."""

    def read(path: Path) -> None:
        from advdpnp.runs import Run

        folder = path.parent / "run"
        place = folder / name
        if alone and not (folder / "alone").exists():
            shutil.rmtree(folder / "eval")
            (folder / "alone").touch()
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        shutil.copyfile(path, place)
        use(Run(folder))

    return read


def _load_run(run: Any) -> None:
    import advdpnp

    advdpnp.load(run.folder)


def _state(run: Any) -> None:
    run.read_state()


def _convert(path: Path) -> None:
    from advdpnp.external import convert_weights

    convert_weights(path, path.with_suffix(".safetensors"))


def _checkpoint(path: Path) -> None:
    from advdpnp.external.checkpoint_file import read_checkpoint
    from advdpnp.external.weights import load_weights

    load_weights(torch.nn.Linear(3, 2), read_checkpoint(path), source=str(path))


def _data(name: str, place: str) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        from advdpnp.data import SPECS
        from advdpnp.data.datasets import read as read_split

        shape = (1, 4, 4) if name == "mnist" else SHAPE
        spec = replace(SPECS[name], image_shape=shape, train_size=IMAGES, test_size=IMAGES)
        packed = path.read_bytes()[:2] == b"\x1f\x8b"
        target = path.parent / "data" / (place + (".gz" if packed and name == "mnist" else ""))
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
        if name == "mnist":
            labels = b"\0\0\x08\x01" + np.array([IMAGES], ">u4").tobytes() + bytes(IMAGES)
            (target.parent / "t10k-labels-idx1-ubyte").write_bytes(labels)
        read_split(spec, "test", path.parent / "data")

    return read


def _array(path: Path) -> None:
    from advdpnp.data.corruptions import layout, open_array

    layout(path)
    np.asarray(open_array(path)[:2])


def _unpack(path: Path) -> None:
    from advdpnp.data.download.unpack import unpack

    unpack(path, ARCHIVE, path.parent / "data")


def _picture(path: Path) -> None:
    from advdpnp.data.folder.decode import decode

    decode(path, 8)


def _settings(path: Path) -> None:
    from advdpnp.experiments import experiment
    from advdpnp.experiments.config import read_changes

    experiment("digits/tiny/adv-dpnp", changes=read_changes(path))


def _indices(path: Path) -> None:
    from advdpnp.indices import parse_indices

    parse_indices(path)


def _words(path: Path) -> None:
    """Everything that takes a text of the command line, each on its own."""
    from advdpnp.attacks import suite
    from advdpnp.cli.command import numbers
    from advdpnp.data import spec
    from advdpnp.experiments import experiment
    from advdpnp.external import ExternalModel
    from advdpnp.external.builder import parse_arguments
    from advdpnp.folder_names import folder_name
    from advdpnp.indices import parse_indices
    from advdpnp.models import check_backbone
    from advdpnp.ranges import parse_eps
    from advdpnp.threat import ThreatModel

    text = path.read_bytes().decode("utf-8", "surrogateescape")
    readers: tuple[Callable[[], Any], ...] = (
        *(lambda: numbers("--mean", text), lambda: parse_eps(text), lambda: parse_indices(text), lambda: spec(text)),
        *(lambda: parse_arguments([text]), lambda: experiment(text), lambda: check_backbone(text)),
        lambda: folder_name(text),
        *(lambda: experiment("digits/tiny/at", settings=[text]), lambda: experiment("digits/tiny/at", tag=text)),
        *(lambda: ExternalModel("a:b", tag=text), lambda: ThreatModel(text, 0.1), lambda: suite(text, 0.1, 64, "linf")),
    )  # fmt: skip
    for read in readers:
        with suppress(ValueError, OSError):
            read()


def _status(run: Any) -> None:
    from advdpnp.run_status import read_status
    from advdpnp.stored_values import differences
    from advdpnp.watching import statuses_text

    status = read_status(run.folder)
    statuses_text([status])
    list(differences(status.value(), {}))


def _report(run: Any) -> None:
    """What a report reads, and the page of it, without figures."""
    from advdpnp.report.read import grouped, read_all
    from advdpnp.report.summary import findings, scope
    from advdpnp.report.tables import accuracy_table, to_csv, to_latex

    found = read_all([run.folder])
    groups = grouped(found.runs)
    tables = [accuracy_table(group) for group in groups]
    text = scope(found.runs, groups) + to_csv(tables) + "".join(map(to_latex, tables))
    (text + str([findings(group) for group in groups])).encode()
    if any("\n" in one.reason for one in found.unread):
        raise AssertionError("a reason of several lines")


def _config(run: Any) -> None:
    from advdpnp.experiments.experiment import from_config

    _status(run)
    with suppress(ValueError, OSError):
        _report(run)
    from_config(run.config())


def _resumed(run: Any) -> None:
    import advdpnp

    advdpnp.evaluate(run.folder, "text", limit=16, resume=True)


def _compared(run: Any) -> None:
    import advdpnp

    _report(run)
    advdpnp.compare(run.folder, run.folder, "quick")


def _predicted(run: Any) -> None:
    import advdpnp

    advdpnp.predict(run.folder, torch.zeros(1, 1, 8, 8), neighbors=1)


def _exported(run: Any) -> None:
    run.stored_checkpoint("last")
    from advdpnp.exporting.folder import _kept, _manifest

    (run.folder / "model.safetensors").touch()
    run.stored_checkpoint("last")
    stored = _manifest(run.folder)
    _kept(run.folder, stored, True, [])


def _lock(path: Path) -> None:
    from advdpnp.lock import only_process, owner_of

    owner_of(path)
    with only_process(path, "a folder"):
        pass


class _Socket:
    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def makefile(self, *_: Any) -> io.BytesIO:
        return io.BytesIO(self._answer)


def _answer(path: Path) -> None:
    """A server's answer, to the first request and to one that goes on."""
    from advdpnp.callbacks import Silent
    from advdpnp.data.download import fetch

    content = path.read_bytes()

    def urlopen(request: Any, timeout: float) -> Any:
        for name, value in request.header_items():
            http.client.HTTPConnection("localhost").putheader  # noqa: B018
            if "\n" in value or "\r" in value:
                raise ValueError(f"{name} of several lines")
        found = http.client.HTTPResponse(_Socket(content))  # type: ignore[arg-type]
        found.begin()
        return found

    with mock.patch.object(fetch, "urlopen", urlopen):
        for _ in range(2):
            with suppress(ConnectionError):
                fetch.fetch(DOWNLOAD, path.parent / "part", Silent(), fetch.Patience(tries=2, pause=0, timeout=1))


def _all_targets() -> list[Target]:
    zipped = mutations.in_zip(mutations.of_bytes)
    arrays = mutations.in_zip(mutations.of_array)
    lines, values = mutations.of_lines, mutations.of_json
    return [
        Target("torch-inert", "torch", zipped, _convert, ".pt"),
        Target("torch-weights-only", "torch", zipped, _checkpoint, ".pt"),
        Target("state", "state.pt", zipped, _run_file("checkpoints/state.pt", _state)),
        Target("safetensors", "safetensors", mutations.of_weights, _weights, ".safetensors"),
        Target(
            "run-weights", "safetensors", mutations.of_weights, _run_file("checkpoints/last.safetensors", _load_run)
        ),
        Target("picture", "picture", mutations.of_picture, _picture, ".png"),
        Target("cifar-pickle", "cifar", mutations.of_bytes, _data("cifar10", "cifar-10-batches-py/test_batch")),
        Target("matlab", "matlab", mutations.of_bytes, _data("svhn", "svhn/test_32x32.mat")),
        Target("idx", "idx", mutations.of_bytes, _data("mnist", "MNIST/raw/t10k-images-idx3-ubyte")),
        Target("npy", "npy", mutations.of_array, _array, ".npy"),
        Target("npz-samples", "samples.npz", arrays, _run_file("eval/samples.npz", _report)),
        Target("npz-projection", "projection.npz", arrays, _run_file("eval/projection.npz", _report)),
        Target("npz-centers", "centers.npz", arrays, _run_file("eval/centers.npz", _report)),
        Target(
            "npz-neighbors", "neighbors-last.npz", arrays, _run_file("eval/neighbors-last.npz", _predicted, alone=False)
        ),
        Target("tar", "tar", mutations.of_tar, _unpack, ".tar.gz", named=False),
        Target("yaml", "yaml", mutations.of_yaml, _settings, ".yaml", named=False),
        Target("config", "config.json", values, _run_file("config.json", _config), named=False),
        Target("log", "train.jsonl", lines, _run_file("train.jsonl", lambda run: (_status(run), _report(run)))),
        Target("result", "result.json", values, _run_file("eval/quick.json", _compared)),
        Target("partial", "partial.json", values, _run_file("eval/text.partial.json", _resumed, alone=False)),
        Target("audit", "audit.json", values, _run_file("eval/audit.json", _report)),
        Target("ood", "ood.json", values, _run_file("eval/ood/ood.json", _report)),
        Target("illustration", "illustration.json", values, _run_file("eval/illustration/illustration.json", _report)),
        Target("manifest", "export.json", values, _run_file("export.json", _exported)),
        Target("indices", "indices", mutations.of_bytes, _indices),
        Target("indices-npy", "npy", mutations.of_array, _indices, ".npy"),
        Target("words", "words", mutations.of_bytes, _words),
        Target("http", "http", mutations.of_bytes, _answer),
        Target("lock", "lock", values, _lock),
    ]


TARGETS = {target.name: target for target in _all_targets()}
