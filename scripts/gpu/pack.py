"""CIFAR in pieces small enough to travel: lossless, about half the size, and back to the original files bit for bit.

A CIFAR file is a pickle with one block of pixels. A piece holds 10,000 images as lossless WebP, in mosaics of 10 x 10,
and the bytes around the block; its manifest has the SHA-256 of the file that it must give again.
"""

import hashlib
import io
import subprocess
import zlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from advdpnp.data.formats.restricted_pickle import read_pickle
from advdpnp.data.sets import files
from advdpnp.runs import Json, read_json, write_bytes, write_json
from gpu.context import Context
from gpu.processes import DONE, FAILED
from gpu.scale import MIB

SIDE, CHANNELS, TILES = 32, 3, 10
_PICTURE = TILES * TILES
# What travels with one call: its pieces and the checkout.
CALL_BYTES = 60 * MIB
MANIFEST = "pieces.json"


def pack_file(path: Path) -> bytes:
    """A CIFAR file as a piece: an .npz of `webp`, `offsets`, `count`, `head` and `tail`.

    Raises:
        ValueError: the file is no CIFAR pickle, or its pixels do not lie in it in one block.
    """
    content = path.read_bytes()
    pixels = read_pickle(path).get(b"data")
    if not isinstance(pixels, np.ndarray) or pixels.shape[1:] != (CHANNELS * SIDE * SIDE,):
        raise ValueError(f"{path} must hold rows of {CHANNELS * SIDE * SIDE} pixels under `data`: give a CIFAR file")
    block = pixels.tobytes()
    place = content.find(block)
    if place < 0:
        raise ValueError(f"{path} does not hold its pixels in one block: give a file of CIFAR's python version")
    pictures = [_encode(mosaic) for mosaic in _mosaics(pixels)]
    buffer = io.BytesIO()
    np.savez(
        buffer,
        webp=np.frombuffer(b"".join(pictures), np.uint8),
        offsets=np.cumsum([0, *map(len, pictures)]),
        count=len(pixels),
        head=_compressed(content[:place]),
        tail=_compressed(content[place + len(block) :]),
    )
    return buffer.getvalue()


def unpack_file(piece: bytes) -> bytes:
    """The file that `pack_file` was given."""
    with np.load(io.BytesIO(piece)) as stored:
        blob, offsets, count = stored["webp"].tobytes(), stored["offsets"].tolist(), int(stored["count"])
        head, tail = (zlib.decompress(stored[name].tobytes()) for name in ("head", "tail"))
    tiles = [_decode(blob[begin:end]) for begin, end in pairwise(offsets)]
    pixels = np.concatenate(tiles)[:count].transpose(0, 3, 1, 2)
    return head + np.ascontiguousarray(pixels).tobytes() + tail


def _compressed(content: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(zlib.compress(content, 9), np.uint8)


def _mosaics(pixels: NDArray[np.uint8]) -> "list[NDArray[np.uint8]]":
    """Pictures of 10 x 10 images in reading order, (320, 320, 3); the last one is filled up with black."""
    missing = -len(pixels) % _PICTURE
    images = np.concatenate([pixels, np.zeros((missing, pixels.shape[1]), np.uint8)])
    tiles = images.reshape(-1, TILES, TILES, CHANNELS, SIDE, SIDE).transpose(0, 1, 4, 2, 5, 3)
    return list(np.ascontiguousarray(tiles).reshape(-1, TILES * SIDE, TILES * SIDE, CHANNELS))


def _encode(mosaic: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    # Higher methods are 3 % smaller and take many times as long.
    Image.fromarray(mosaic).save(buffer, "WEBP", lossless=True, quality=100, method=2, exact=True)
    return buffer.getvalue()


def _decode(picture: bytes) -> NDArray[np.uint8]:
    """(100, 32, 32, 3)"""
    with Image.open(io.BytesIO(picture)) as image:
        mosaic = np.asarray(image.convert("RGB"))
    tiles = mosaic.reshape(TILES, SIDE, TILES, SIDE, CHANNELS).swapaxes(1, 2)
    return np.ascontiguousarray(tiles).reshape(_PICTURE, SIDE, SIDE, CHANNELS)


def pack(names: Sequence[str], root: Path, out: Path, calls: int = 2, commit: str = "") -> list[Path]:
    """Pack files for calls of equal shares: out/1, out/2, ..., each with its manifest.

    Args:
        names: paths of CIFAR files under the data root.
        root: the data root.
        out: folder of the carries.
        calls: how many.
        commit: of the checkout that travels with them.
    Returns:
        The folders.
    """
    folders = [out / str(number + 1) for number in range(calls)]
    share = -(-len(names) // calls)
    for number, folder in enumerate(folders):
        for old in folder.glob("*"):
            old.unlink()
        manifest: Json = {"schema": 1, "commit": commit, "files": {}}
        for name in names[number * share : (number + 1) * share]:
            content, piece = (root / name).read_bytes(), pack_file(root / name)
            packed = f"{Path(name).name}.npz"
            write_bytes(folder / packed, piece)
            sums = {"sha256": hashlib.sha256(content).hexdigest(), "packed_sha256": hashlib.sha256(piece).hexdigest()}
            manifest["files"][name] = {"packed": packed, **sums}
        write_json(folder / MANIFEST, manifest)
    return folders


def cifar_files(data: str, root: Path) -> list[str]:
    """The files of a named set, checked against their published MD5 sums.

    Raises:
        ValueError: a file is not the published one. FileNotFoundError: it is not there.
    """
    names = []
    for file, _ in files(data):
        path = root / file.path
        if not path.is_file():
            raise FileNotFoundError(f"no {path}: give the data root as --data-root, or `advdpnp data download {data}`")
        if hashlib.md5(path.read_bytes()).hexdigest() != file.md5:
            raise ValueError(f"{path} has another MD5 sum than {file.md5}: restore it from its archive")
        names.append(file.path)
    return names


def unpack(carry: Path, root: Path) -> tuple[list[str], list[str]]:
    """Write the files whose pieces came, each only if it is the original.

    Args:
        carry: folder with a manifest and pieces.
        root: the data root.
    Returns:
        Paths that are there now, and one line for each that is not.
    """
    there, missing = [], []
    for name, entry in read_json(carry / MANIFEST)["files"].items():
        path = root / name
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]:
            there.append(name)
            continue
        try:
            content = unpack_file((carry / entry["packed"]).read_bytes())
            if hashlib.sha256(content).hexdigest() != entry["sha256"]:
                raise ValueError("it gives another file than the one that was packed")
        # A damaged piece fails in any way that a decoder can; the others are still wanted.
        except Exception as error:
            missing.append(f"{name}: {type(error).__name__}: {error}")
            continue
        write_bytes(path, content)
        there.append(name)
    return there, missing


def unpack_stage(context: Context) -> int:
    """Unpack what came with this call, and say what is lacking still."""
    carry, root = context.places.carry, context.places.data
    data, _, _ = context.scale.network.partition("/")
    there: list[str] = []
    wrong = [f"no pieces came: {carry}/{MANIFEST} is not there"]
    if carry is not None and (carry / MANIFEST).is_file():
        there, wrong = unpack(carry, root)
    lacking = [file.path for file, _ in files(data) if not (root / file.path).is_file()]
    context.keep(files=there, lacking=lacking, **({"error": "; ".join(wrong)} if wrong else {}))
    return FAILED if wrong else DONE


def commit_of(root: Path) -> str:
    """The checkout's commit, "+" after it where files differ; "" where it has none."""
    try:
        head, changed = (
            subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head + ("+" if changed else "")


def travelling_bytes(root: Path, carry: Path) -> int:
    """Bytes of one call: the files that git does not ignore, and its carry."""
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=True,
    ).stdout.split(b"\0")
    paths = [root / name.decode() for name in listed if name] + list(carry.glob("*"))
    return sum(path.stat().st_size for path in paths if path.is_file())


def main(data: str, root: Path, checkout: Path, out: Path) -> int:
    """Pack a set, and say what each call takes."""
    names = cifar_files(data, root)
    status = 0
    for folder in pack(names, root, out, commit=commit_of(checkout)):
        size = travelling_bytes(checkout, folder)
        print(f"{folder}: {size / MIB:.1f} MiB with the checkout, of at most {CALL_BYTES / MIB:.0f}")
        status = status if size <= CALL_BYTES else 1
    return status
