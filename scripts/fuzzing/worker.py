"""One process that gives changed files to one reader, until its time is over or something is found.

Whatever it does to itself, the file that it was given lies in its folder, and whoever started it tells of it.
"""

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

from fuzzing import seeds
from fuzzing.targets import TARGETS, Target

# Of one file: seconds of the processor, bytes that the process may grow by and may have at most besides.
SECONDS, GROWTH, ADDRESSES = 10, 1 << 30, 6 << 30
_LARGEST, _CORPUS = 1 << 20, 400
# Calls of a function after which its lines are known.
_OFTEN = 2000
_PACKAGE = f"{os.sep}advdpnp{os.sep}"
_WRITES = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.chmod", "os.truncate"}
_RUNS = {"os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "pty.spawn"}


class Hang(BaseException):
    """A file that takes longer than any file may."""


class Outside(BaseException):
    """Code ran, or something outside of the folder was to be changed."""


class Watch:
    """What readers do: lines that they reach, memory that they ask for in vain, files that they change."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder.resolve())
        self.lines: set[tuple[str, int]] = set()
        self.calls: dict[Any, int] = {}
        self.new = self.active = False
        self.refused_memory = ""
        sys.addaudithook(self._audit)

    def _audit(self, event: str, values: tuple[Any, ...]) -> None:
        if not self.active:
            return
        # The commit that a result is of.
        if event in _RUNS and values[0] != "git":
            raise Outside(f"{event} {values!r:.200}")
        # Names beside an open folder are of shutil.rmtree, which asks before with the whole name.
        beside = event in _WRITES and any(isinstance(value, int) and value > 2 for value in values[1:])
        writes = (event in _WRITES and not beside) or (event == "open" and _to_write(values))
        if writes and not all(self._inside(value) for value in values[: 2 if event == "os.rename" else 1]):
            raise Outside(f"{event} {values!r:.200}")

    def _inside(self, value: Any) -> bool:
        if not isinstance(value, (str, bytes)) or os.fsdecode(value) == os.devnull:
            return True
        return os.path.realpath(os.fsdecode(value)).startswith(self.folder)

    def trace(self, frame: Any, event: str, argument: Any) -> Any:
        """For sys.settrace."""
        if _PACKAGE not in frame.f_code.co_filename:
            return None
        if event == "exception":
            kind, value, trace = argument
            # Python's parser says the same of brackets that are nested too deeply.
            of_parser = Path(list(traceback.walk_tb(trace))[-1][0].f_code.co_filename).name == "ast.py"
            if (issubclass(kind, MemoryError) and not of_parser) or "can't allocate memory" in str(value):
                self.refused_memory = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        place = (frame.f_code.co_filename, frame.f_lineno)
        if place not in self.lines:
            self.lines.add(place)
            self.new = True
        if event == "call":
            # What has told of nothing new for long is only asked for errors: each line costs time.
            known = self.calls[frame.f_code] = 0 if self.new else self.calls.get(frame.f_code, 0) + 1
            frame.f_trace_lines = known < _OFTEN
        return self.trace


def _to_write(values: tuple[Any, ...]) -> bool:
    _, mode, flags = values
    if isinstance(mode, str):
        return any(sign in mode for sign in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))


def _stop(*_: Any) -> None:
    raise Hang


def _limit_memory() -> None:
    status = Path("/proc/self/status").read_text()
    used = int(status.partition("VmSize:")[2].split()[0]) << 10
    resource.setrlimit(resource.RLIMIT_AS, (used + ADDRESSES, used + ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))


def _grown() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def tried(target: Target, content: bytes, folder: Path, watch: Watch) -> str:
    """What is wrong with what a reader does with a file; "" where it gives a value, or refuses it."""
    path = folder / f"input{target.suffix}"
    path.write_bytes(content)
    before = _grown()
    watch.refused_memory, watch.active = "", True
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    sys.settrace(watch.trace)
    try:
        target.read(path)
    except Hang:
        return f"hang: more than {SECONDS} s at {_place()}"
    except Outside as error:
        return f"outside: {error}"
    except (ValueError, OSError) as error:
        if len(str(error).splitlines()) > 1:
            return f"lines: {type(error).__name__} of several lines at {_place()}"
        if target.named and isinstance(error, ValueError) and str(folder) not in str(error):
            return f"nameless: {type(error).__name__} without the file's name at {_place()}"
    except Exception as error:
        return f"{type(error).__name__}: {_place()}"
    finally:
        sys.settrace(None)
        signal.setitimer(signal.ITIMER_PROF, 0)
        watch.active = False
    if watch.refused_memory:
        return f"memory: more than {ADDRESSES >> 30} GiB asked for at {watch.refused_memory}"
    return f"memory: grew by {(_grown() - before) >> 20} MiB" if _grown() - before > GROWTH else ""


def _place() -> str:
    """The last line of the package that an error came through, and where it was raised."""
    frames = traceback.extract_tb(sys.exc_info()[2])
    ours = [frame for frame in frames if _PACKAGE in frame.filename]
    shown = [*ours[-1:], *frames[-1:]]
    return ", ".join(dict.fromkeys(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in shown))


def _keep(found: str, content: bytes, folder: Path, known: set[str]) -> None:
    """Store the first file of each finding."""
    if found not in known:
        known.add(found)
        name = hashlib.sha256(content).hexdigest()[:16]
        (folder / f"{name}.input").write_bytes(content)
        (folder / f"{name}.json").write_text(json.dumps({"found": found, "input": f"{name}.input"}))


def work(name: str, seconds: float, seed: int, seed_files: Path, folder: Path) -> None:
    """Fuzz one target, and store findings; lines on standard output count. A finding that may leave it ill ends it."""
    warnings.simplefilter("ignore")
    target, draw, end = TARGETS[name], random.Random(f"{name} {seed}"), time.monotonic() + seconds
    corpus, known, count = seeds.read(seed_files, target.seeds), set[str](), 0
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(seed_files / "run", scratch / "run")
    watch = Watch(folder)
    signal.signal(signal.SIGPROF, _stop)
    for content in corpus:
        if found := tried(target, content, scratch, watch):
            _keep(f"a file of ours: {found}", content, folder, known)
    _limit_memory()
    while time.monotonic() < end:
        content = target.mutate(draw.choice(corpus), draw)[:_LARGEST]
        (folder / "input").write_bytes(content)
        watch.new = False
        found = tried(target, content, scratch, watch)
        count += 1
        # Short lines, so that whoever started this knows that it lives.
        print(json.dumps({"count": count, "lines": len(watch.lines), "corpus": len(corpus)}), flush=True)
        if found:
            _keep(found, content, folder, known)
            if found.startswith(("memory", "hang")):
                return
        elif watch.new and len(corpus) < _CORPUS:
            corpus.append(content)
