"""What the fuzzer begins with: small files of every kind, written by whoever writes them in earnest."""

import contextlib
import gzip
import io
import json
import pickle
import random
import shutil
import tarfile
import warnings
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import advdpnp
from advdpnp.api import illustrate, train
from advdpnp.callbacks import Silent
from advdpnp.data.download.sources import Archive, DataFile
from advdpnp.experiments import experiment
from advdpnp.runs import Run

# A small CIFAR: four images of 4 x 4 pixels in each file.
IMAGES, SHAPE = 4, (3, 4, 4)
ARCHIVED = {"set/one": b"1" * 3000, "set/two": bytes(range(256)) * 8}
ARCHIVE = Archive(
    "set.tar.gz", 0, "", ("http://127.0.0.1:9/",), tuple(DataFile(n, len(c), "") for n, c in ARCHIVED.items())
)
DOWNLOAD = Archive("plain.bin", 2000, "0" * 32, ("http://127.0.0.1:9/",), (DataFile("plain.bin", 2000, "0" * 32),))


def write_all(folder: Path) -> None:
    """One folder of files for each kind, and `run`, a run folder that holds everything."""
    made = folder.with_name(f"{folder.name}.making")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = _run(made)
        for kind, contents in (_of_run(run) | made_of_nothing()).items():
            (made / kind).mkdir()
            for number, content in enumerate(contents):
                (made / kind / f"{number:02}").write_bytes(content)
    made.rename(folder)


def made_of_nothing() -> dict[str, list[bytes]]:
    """Files of the kinds that need no run, by kind."""
    return _torch_files() | _data_files() | _texts() | _pictures()


def read(folder: Path, kind: str) -> list[bytes]:
    """The seeds of one kind."""
    return [path.read_bytes() for path in sorted((folder / kind).iterdir())]


class _Interrupt(Silent):
    """Ends an evaluation after some images, as Ctrl-C does."""

    def on_images(self, count: int, **_: Any) -> None:
        raise KeyboardInterrupt


def _run(folder: Path) -> Run:
    changes: Any = {"recipe": {"epochs": 2, "train_images": 64}}
    run = train(experiment("digits/tiny/adv-dpnp", changes=changes), folder / "made")
    for suite in ("quick", "clean"):
        advdpnp.evaluate(run.folder, suite, limit=16)
    with contextlib.suppress(KeyboardInterrupt):
        advdpnp.evaluate(run.folder, "text", limit=16, callback=_Interrupt())
    illustrate(run.folder, limit=16, samples=2)
    advdpnp.audit(run.folder, limit=16)
    advdpnp.ood(run.folder, ["uniform-noise"], limit=16, attack="fgsm")
    advdpnp.predict(run.folder, torch.zeros(1, 1, 8, 8), neighbors=1)
    advdpnp.export(run.folder, folder / "exported")
    run.folder.rename(folder / "run")
    return Run(folder / "run")


def _of_run(run: Run) -> dict[str, list[bytes]]:
    folder = run.folder
    return {
        "safetensors": [run.weights_path("last").read_bytes()],
        "state.pt": [run.state_path.read_bytes()],
        "config.json": [(folder / "config.json").read_bytes()],
        "train.jsonl": [run.log_path.read_bytes()],
        "result.json": [run.eval_path(f"{suite}.json").read_bytes() for suite in ("quick", "clean")],
        "partial.json": [path.read_bytes() for path in run.eval_path("").glob("*.partial.json")],
        "ood.json": [run.eval_path("ood/ood.json").read_bytes()],
        "audit.json": [path.read_bytes() for path in sorted(run.eval_path("").glob("audit*.json"))],
        "illustration.json": [run.eval_path("illustration/illustration.json").read_bytes()],
        **{path.name: [path.read_bytes()] for path in sorted(run.eval_path("").glob("*.npz"))},
        "export.json": [(folder.parent / "exported" / "export.json").read_bytes()],
    }


def _saved(value: object, **how: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, **how)
    return out.getvalue()


def _torch_files() -> dict[str, list[bytes]]:
    weights = OrderedDict(w=torch.arange(6.0).view(2, 3), b=torch.zeros(3, dtype=torch.float16), n=torch.tensor(3))
    whole: Any = {"state_dict": weights, "epoch": 3, "best": [1, 2.5, "x", None, True], "t": weights["w"].t()}
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
    plain = pickle.dumps({"w": np.ones((2, 2), np.float32), "k": [1, {"a": b"x"}]}, protocol=2)
    files = [_saved(whole), _saved(whole, _use_new_zipfile_serialization=False), _saved(network), plain]
    return {"torch": [*files, pickle.dumps({"w": np.arange(4.0)}, protocol=5)]}


def _npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def _data_files() -> dict[str, list[bytes]]:
    from scipy.io import savemat

    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (IMAGES, 48), np.uint8)
    batch = {b"data": pixels, b"labels": [1, 2, 3, 0], b"filenames": [b"a", b"b"]}
    idx = b"\0\0\x08\x03" + np.array([IMAGES, 4, 4], ">u4").tobytes() + pixels[:, :16].tobytes()
    mats = []
    for compressed in (True, False):
        out = io.BytesIO()
        columns = pixels.T.reshape(*SHAPE[1:], SHAPE[0], IMAGES)
        savemat(out, {"X": columns, "y": np.ones((IMAGES, 1), np.uint8)}, do_compression=compressed)
        mats.append(out.getvalue())
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in ARCHIVED.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return {
        "cifar": [pickle.dumps(batch, protocol=2), pickle.dumps(batch, protocol=4)],
        "idx": [idx, gzip.compress(idx)],
        "matlab": mats,
        "npy": [_npy(draw.integers(0, 256, (20, 4, 4, 3), np.uint8)), _npy(np.arange(5)), _npy(np.array(["a", "bc"]))],
        "tar": [packed.getvalue()],
    }


def _texts() -> dict[str, list[bytes]]:
    texts: dict[str, Iterable[str]] = {
        "yaml": (
            "recipe: {epochs: 2, attack: {eps: 8/255, steps: 3}}\ndefense: {alpha: 1.5}\nseed: 3\n",
            "recipe:\n  milestones: [0.5, 0.75]\n  averaging: &a {kind: none}\ntag: x\n",
        ),
        "indices": ("0-99,2303\n107\n", "[1, 2, 3]", "0-199 step 4"),
        "words": ("8/255", "0.4914,0.4822,0.4465", "depth=28", "0-99,2303", "cifar10/resnet18/at", "timm:resnet18",
                  "cuda:0", "linf", "net.py:Net", "cifar10-c/fog/3", "recipe.epochs=2", "folder:photos"),
        "lock": (json.dumps({"process": 123, "host": "here"}),),
        "http": (
            "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\nETag: \"x\"\r\n\r\n" + "x" * 2000,
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1999/2000\r\n\r\n" + "x" * 2000,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nLast-Modified: now\r\n\r\n10\r\n" + "x" * 16
            + "\r\n0\r\n\r\n",
            "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Disposition: filename=../x\r\n\r\n",
            "HTTP/1.1 503 Busy\r\nRetry-After: 1\r\n\r\n",
        ),
    }  # fmt: skip
    return {kind: [text.encode() for text in several] for kind, several in texts.items()}


def _pictures() -> dict[str, list[bytes]]:
    draw = random.Random(0)
    pixels = np.frombuffer(draw.randbytes(12 * 10 * 4), np.uint8).reshape(12, 10, 4)
    color, found = Image.fromarray(pixels[..., :3].copy()), []
    exif = Image.Exif()
    exif[0x112] = 6
    variants: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (color, "PNG", {"exif": exif}), (Image.fromarray(pixels), "PNG", {}), (color.convert("P"), "PNG", {}),
        (Image.fromarray(pixels[..., :2].copy().view(np.uint16)[..., 0]), "PNG", {}), (color, "JPEG", {"exif": exif}),
        (color.convert("CMYK"), "JPEG", {}), (color, "JPEG", {"progressive": True}), (color, "BMP", {}),
        (color, "GIF", {"save_all": True, "append_images": [color, color]}), (color, "WEBP", {}), (color, "TIFF", {}),
        (color, "TIFF", {"compression": "tiff_lzw"}), (color, "PPM", {}), (color, "JPEG2000", {}), (color, "AVIF", {}),
        (color, "PNG", {"save_all": True, "append_images": [color]}), (color, "TIFF", {"compression": "jpeg"}),
    ]  # fmt: skip
    for picture, kind, how in variants:
        out = io.BytesIO()
        try:
            picture.save(out, kind, **how)
        except (OSError, KeyError, ValueError):
            continue  # a Pillow without this format
        found.append(out.getvalue())
    return {"picture": found}
