"""The run directory: one folder per trained model, written atomically, never overwritten silently.

runs/<data>/<backbone>/<defense>[+tag]/seed-<n>/
    config.json        the experiment, fully resolved      environment.json   versions, device, commit, command
    train.jsonl        one object per epoch                checkpoints/       state.pt, last and best .safetensors
    eval/              <suite>.json with verdicts; samples, embedding, projection and centers .npz for figures
    loggers.json       where its logs are, if it has any
"""

import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from advdpnp import checksums, fence, weights_file
from advdpnp.bounded_files import MOST_LOG, check_no_folder, check_plain, no_link, read_bytes, read_text
from advdpnp.checksums import DamagedError
from advdpnp.ranges import cut
from advdpnp.stored_values import check_schema, check_value, differences, later_epoch, parsed, to_show
from advdpnp.torch_limits import check_limits

if TYPE_CHECKING:
    from torch import Tensor

Json = dict[str, Any]
T = TypeVar("T")

# The one file of weights of an exported folder, which is read as a run's.
EXPORTED_WEIGHTS = "model.safetensors"
# Cosines between the class centers, in the folder of a run's evaluations.
SIMILARITY = "centers.npz"
# What a run folder holds beside its configuration, if not all of it.
RUN_TRACES = ("eval", "checkpoints", "train.jsonl", "environment.json")
# Held by the process that writes a folder.
LOCK = ".lock"
# What an exported folder holds, and of which checkpoint.
EXPORT_MANIFEST, EXPORT_SCHEMA = "export.json", 1


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file or nothing: temporary name, fsync, rename. An existing file survives any failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    check_no_folder(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            # mkstemp makes private files; a result is as readable as any other file.
            if hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), 0o644)
        with fence.writing():
            Path(temporary).replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        Path(temporary).unlink(missing_ok=True)


def remove_torn_writes(*folders: Path) -> None:
    """Remove what `write_bytes` left behind when it was killed; nobody else must write there meanwhile."""
    for folder in folders:
        for path in folder.glob(".*.*.????????"):
            path.unlink(missing_ok=True)


def write_json(path: Path, content: Json) -> None:
    """Write JSON with a checksum, keys as given, one trailing newline, atomically. NaN is an error."""
    write_bytes(path, (json.dumps(checksums.sealed(content), indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Json:
    """A JSON object; ValueError naming the file if it is damaged, FileNotFoundError if it is not there.

    What has no checksum is told by a warning, see `advdpnp.checksums`.
    """
    try:
        content = checksums.verified(path, parsed(read_text(path)))
    except DamagedError:
        raise
    except ValueError as error:
        raise DamagedError(f"{path} is damaged ({error}): restore it, or run the command that wrote it again") from None
    if not isinstance(content, dict):
        raise DamagedError(f"{path} is damaged (expected an object): run the command that wrote it again")
    return content


def checked(path: Path, cure: str, read: Callable[[], T]) -> T:
    """What `read` gives; ValueError with the file's name and a cure where its content is not what it must be."""
    try:
        return read()
    except DamagedError:
        raise
    except Exception as error:  # of any kind: libraries raise what they like on bytes that are not theirs
        if isinstance(error, FileNotFoundError) or (isinstance(error, OSError) and error.errno is not None):
            # Not its content, and it names the file.
            raise
        problem = f"no {error}" if isinstance(error, KeyError) else f"{error}" or type(error).__name__
        raise ValueError(f"{path} is damaged or not a result of advdpnp ({problem}): {cure}") from error


def read_shown(path: Path, cure: str, read: Callable[[Any], T]) -> T:
    """What `read` makes of stored JSON whose texts are shown to people; ValueError as `checked`."""
    return checked(path, cure, lambda: read(to_show(checksums.verified(path, parsed(read_text(path)), cure))))


@dataclass(frozen=True)
class Run:
    """One run's folder.

    Args:
        folder: path of the folder; it need not exist yet.
    """

    folder: Path

    @property
    def exists(self) -> bool:
        """Whether the folder holds a run."""
        return (self.folder / "config.json").exists()

    @property
    def state_path(self) -> Path:
        return self.folder / "checkpoints" / "state.pt"

    @property
    def lock_path(self) -> Path:
        """Held by the process that trains this run."""
        return self.folder / LOCK

    @property
    def log_path(self) -> Path:
        """train.jsonl, one line for each epoch."""
        return self.folder / "train.jsonl"

    @property
    def loggers_path(self) -> Path:
        """Where the logs of this run are, and how far."""
        return self.folder / "loggers.json"

    def weights_path(self, which: str) -> Path:
        return self.folder / "checkpoints" / f"{which}.safetensors"

    def stored_weights_path(self, which: str) -> Path:
        """Where weights are read from: an exported folder holds one checkpoint, whichever it was."""
        exported = self.folder / EXPORTED_WEIGHTS
        return exported if exported.is_file() else self.weights_path(which)

    def stored_checkpoint(self, asked: str) -> str:
        """The name of what is read for "last" or "best": in an exported folder, that of its one checkpoint.

        Raises:
            ValueError: the export is not of the best checkpoint, which was asked for, or what it says of itself is
                damaged.
        """
        manifest = self.folder / EXPORT_MANIFEST
        if not (self.folder / EXPORTED_WEIGHTS).is_file() or not manifest.is_file():
            return asked
        held = checked(manifest, "export the run again", lambda: _exported_checkpoint(read_json(manifest), asked))
        if asked == "best" and held != asked:
            raise ValueError(f"{self.folder} is an export of the checkpoint {held} alone: leave --checkpoint out")
        return held

    def eval_path(self, name: str) -> Path:
        return self.folder / "eval" / name

    def config(self) -> Json:
        """The resolved experiment; FileNotFoundError with a cure where the folder holds no run."""
        path = self.folder / "config.json"
        if not path.is_file():
            raise FileNotFoundError(f"{self.folder} is no run: {self._instead()}")
        return read_json(path)

    def _instead(self) -> str:
        """What to give instead of a folder that is none of a run."""
        held = next(_runs_near(self.folder), None)
        if held is not None:
            return f"it holds runs. Give one of them, such as {held}"
        if not self.folder.is_file():
            return (
                "it has no config.json. Give a folder that `advdpnp train` made, "
                "such as runs/digits/tiny/adv-dpnp/seed-0"
            )
        within = [folder for folder in self.folder.parents[:2] if (folder / "config.json").is_file()]
        return (
            f"it is a file. Give the folder {within[0]}"
            if within
            else "it is a file. Give the folder of a run, or evaluate another network with --model"
        )

    def create_or_verify(self, config: Json, completed: Callable[[Json], Json] = lambda stored: stored) -> bool:
        """Make this the run of `config`: True if it was so already, False if the folder is new.

        Args:
            config: JSON values.
            completed: gives a stored configuration the fields that the version which wrote it did not have.
        Raises:
            ValueError: the folder holds a run of another configuration; the fields are named.
        """
        path = self.folder / "config.json"
        if not self.exists:
            write_json(path, config)
            return False
        # Through JSON, so that tuples compare as the lists that they become.
        found = list(differences(completed(read_json(path)), json.loads(json.dumps(config))))
        if found:
            raise ValueError(
                f"{self.folder} holds a run of another configuration ({'; '.join(found)}): "
                "choose another --name or --out, or remove that folder"
            )
        return True

    def remove_torn_writes(self) -> None:
        """Remove what writes of a training that was killed half-way left behind, once no other one writes here."""
        remove_torn_writes(self.folder, self.state_path.parent)

    def check_belongs(self, stored_config: Json, path: Path) -> None:
        """ValueError if a checkpoint was written by another experiment than this run's."""
        found = list(differences(stored_config, self.config()))
        if found:
            raise ValueError(
                f"{path} is a checkpoint of another experiment ({'; '.join(found)}): "
                "put this run's own checkpoint back, or train again in another folder"
            )

    def write_weights(self, which: str, weights: "Mapping[str, Tensor]", epoch: int) -> None:
        """Store weights as checkpoints/<which>.safetensors with epoch, configuration and a checksum in its metadata."""
        content = weights_file.weights_bytes(weights, {"epoch": epoch, "config": self.config()})
        write_bytes(self.weights_path(which), content)

    def read_weights(self, which: str) -> "tuple[dict[str, Tensor], int]":
        """Weights and the epochs that they were trained for.

        Raises:
            FileNotFoundError: not written yet. ValueError: damaged, or of another experiment.
        """
        path = self.stored_weights_path(which)
        if not path.is_file():
            done = len(self.epochs())
            raise FileNotFoundError(
                f"{path} is not there: {done} epochs are done. Finish the run with `advdpnp train ... --resume`"
                + ("; best needs a recipe with holdout images" if which == "best" else "")
            )
        try:
            weights, facts, verified = weights_file.read_weights(path)
            config, epoch = facts["config"], facts["epoch"]
            check_value("config", config, dict[str, Any])
            check_value("epoch", epoch, int)
        except KeyError:
            raise ValueError(
                f"{path} does not say which run it is of: it was not written by advdpnp, so put the run's own "
                "checkpoint back, or evaluate it with --model and --weights"
            ) from None
        except TypeError as error:
            raise ValueError(f"{path} is damaged ({error}): restore it, or train again with --resume") from None
        self.check_belongs(config, path)
        if not verified:
            checksums.tell_unchecked(path)
        return weights, epoch

    def weights_sha256(self, which: str) -> str:
        """SHA-256 of the file of weights, by which results know them."""
        return hashlib.sha256(self.stored_weights_path(which).read_bytes()).hexdigest()

    def trained_epochs(self, which: str) -> int | None:
        """The epochs that weights were trained for, as their file says; None where there is no such file."""
        path = self.weights_path(which)
        facts = weights_file.read_facts(path) if path.is_file() else None
        epoch = (facts or {}).get("epoch")
        # Damaged: whoever reads the weights says so.
        return epoch if isinstance(epoch, int) else None

    def write_state(self, state: Json) -> None:
        """Store everything that `--resume` needs."""
        import torch

        buffer = io.BytesIO()
        torch.save(state | {"config": self.config()}, buffer)
        write_bytes(self.state_path, buffer.getvalue())

    def read_state(self) -> Json:
        """What `write_state` stored; ValueError if it is damaged or of another experiment."""
        import torch

        try:
            check_plain(self.state_path)
            if not zipfile.is_zipfile(self.state_path):
                raise ValueError("it is no archive of torch.save")
            check_limits(self.state_path)
            # torch writes the checksums of a zip file, and does not verify them.
            with zipfile.ZipFile(self.state_path) as file:
                if (part := file.testzip()) is not None:
                    raise ValueError(f"{part} in it has another checksum than it was written with")
            state: Json = torch.load(self.state_path, map_location="cpu", weights_only=True)
            # Whatever torch reads may stand there; what is no JSON is no configuration.
            config: Json = json.loads(json.dumps(state["config"]))
        except Exception as error:
            # After its first sentence torch advises to read the file in a way that runs code.
            said = str(error).partition("\n")[0].partition(". ")[0] or type(error).__name__
            raise ValueError(
                f"{self.state_path} is damaged ({cut(said)}): remove it to start this run again from its beginning"
            ) from None
        self.check_belongs(config, self.state_path)
        return state

    def write_arrays(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Store numpy arrays as eval/<name>, an .npz."""
        import numpy as np

        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        write_bytes(self.eval_path(name), buffer.getvalue())

    def epochs(self) -> list[Json]:
        """The lines of train.jsonl, each of a later epoch; a last line that a kill cut short is left out."""
        path, found, checked, last = self.log_path, [], True, 0
        content = read_bytes(path, MOST_LOG) if path.exists() else b""
        lines = content.splitlines()
        for number, line in enumerate(lines, start=1):
            try:
                epoch, has_checksum = checksums.unsealed_line(line)
                last = later_epoch(epoch, last)
            except ValueError as error:
                if number < len(lines) or content.endswith(b"\n"):
                    raise ValueError(
                        f"{path} is damaged in line {number} ({error}): restore it from a copy, or remove the line; "
                        "weights are not lost with it"
                    ) from None
                continue
            found.append(epoch)
            checked &= has_checksum
        if not checked:
            checksums.tell_unchecked(path)
        return found

    def append_epoch(self, line: Json) -> None:
        """Add one epoch to train.jsonl."""
        with fence.writing(), open(self.log_path, "a", opener=no_link) as file:
            file.write(checksums.sealed_line(line))

    def keep_epochs(self, count: int) -> None:
        """Drop what train.jsonl says of epochs after `count`, which a resumed run is about to repeat."""
        kept = (line for line in self.epochs() if line.get("epoch", count) <= count)
        write_bytes(self.log_path, "".join(map(checksums.sealed_line, kept)).encode())


def _exported_checkpoint(manifest: Json, asked: str) -> str:
    check_schema(manifest, EXPORT_SCHEMA)
    check_value("model", manifest["model"], dict[str, Any])
    held: str = manifest["model"].get("checkpoint", asked)
    check_value("model.checkpoint", held, Literal["last", "best"])
    return held


def _runs_near(root: Path) -> Iterator[Path]:
    """Folders of runs not too far below `root`, which may be anything, such as a home folder."""
    for depth in range(1, 6):
        folders = (path.parent for path in sorted(root.glob("*/" * depth + "config.json")))
        yield from filter(_is_run, folders)


def list_runs(root: Path) -> list[Path]:
    """Folders of all runs under `root`, whatever they are called, sorted; `root` itself may be an export too."""
    folders = (path.parent for path in root.rglob("config.json"))
    return sorted(folder for folder in folders if folder == root or _is_run(folder))


def _is_run(folder: Path) -> bool:
    """Whether a folder with a configuration is that of a run: other programs have files of that name too."""
    if (folder / EXPORT_MANIFEST).exists():
        return False
    return folder.name.startswith("seed-") or any((folder / name).exists() for name in RUN_TRACES)


def runs_below(path: Path) -> list[Path]:
    """Folders of all runs at or under a path that a user gave.

    Raises:
        FileNotFoundError, ValueError: there is no such folder, or no run in it.
    """
    wanted = "give the folder of a run, such as runs/cifar10/resnet18/at/seed-0, or one that holds runs"
    if not path.is_dir():
        what = "is a file" if path.exists() else "is not there"
        raise FileNotFoundError(f"{path} {what}: {wanted}")
    found = list_runs(path)
    if not found:
        raise ValueError(f"{path} holds no run: {wanted}")
    return found
