"""How work is captured, with stand-ins for torch.cuda that write down what happens."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from advdpnp.cuda_graphs import cuda_graph


class Stream:
    def __init__(self, name: str = "side") -> None:
        self.name, self.waited_for = name, list[str]()

    def wait_stream(self, other: "Stream") -> None:
        self.waited_for.append(other.name)


class Graph:
    def __init__(self) -> None:
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1


class Cuda:
    """torch.cuda as far as a capture needs it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.main = self.current = Stream("main")
        self.log: list[str] = []
        self.graphs: list[Graph] = []
        self.side = Stream()
        patch.setattr(torch.cuda, "Stream", lambda: self.side)
        patch.setattr(torch.cuda, "current_stream", lambda: self.current)
        patch.setattr(torch.cuda, "stream", self._stream)
        patch.setattr(torch.cuda, "CUDAGraph", self._graph)
        patch.setattr(torch.cuda, "graph", self._capture)
        patch.setattr(gc, "collect", lambda: self.log.append("collect"))

    def _graph(self) -> Graph:
        self.graphs.append(Graph())
        return self.graphs[-1]

    @contextmanager
    def _stream(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        yield
        self.current = before

    @contextmanager
    def _capture(self, graph: Graph, stream: Stream | None = None) -> Iterator[None]:
        assert graph is self.graphs[-1]
        with self._stream(stream or Stream("torch's own")):
            self.log.append("capture")
            yield

    def work(self) -> str:
        self.log.append(f"work on {self.current.name}")
        return "result"


def test_warm_up_and_capture_run_on_one_stream_and_garbage_is_collected_before(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda(monkeypatch)
    replay = cuda_graph(cuda.work)
    assert cuda.log == 3 * ["work on side"] + ["collect", "capture", "work on side"]
    assert cuda.side.waited_for == ["main"] and cuda.main.waited_for == ["side"]
    assert replay() == "result" and replay() == "result"
    assert cuda.graphs[0].replays == 2 and len(cuda.graphs) == 1
