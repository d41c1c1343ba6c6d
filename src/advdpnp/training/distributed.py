"""The ranks of a training: processes with one network, that share the rows of every batch. torchrun starts them."""

import io
import socket
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple, Protocol

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from advdpnp.launch import Launch, RankError, ToldByAnotherRank, launch

# How long a rank waits for the others; in between lie a compilation, or the validation of a part.
_PATIENCE = timedelta(minutes=30)
# For how many seconds another rank than the first waits for one that tells the same error.
_AT_ONCE = 3.0
_FAILED = "advdpnp/failed"


class RankPart(NamedTuple):
    """The rows of a batch that a rank computes.

    Attributes:
        rows: of the whole batch.
        share: number of these rows over that of all, in [0, 1]; 0 for a rank that is left without rows of its own and
            repeats others, which count nothing.
    """

    rows: slice
    share: float


def part_of(rows: int, rank: int, size: int) -> RankPart:
    """The part of one rank: as equal as can be, and none of a single row, which has no variance, if there are two."""
    working = max(1, min(size, rows // 2))
    if rank >= working:
        return RankPart(part_of(rows, 0, size).rows, 0.0)
    least, more = divmod(rows, working)
    begin = rank * least + min(rank, more)
    count = least + (rank < more)
    return RankPart(slice(begin, begin + count), count / rows)


class Store(Protocol):
    """What is used of `torch.distributed.Store`, which outlives a rank where torchrun keeps it."""

    def set(self, key: str, value: str) -> None: ...
    def get(self, key: str) -> bytes: ...
    def check(self, keys: list[str]) -> bool: ...
    def compare_set(self, key: str, expected: str, desired: str) -> bytes: ...


@dataclass(frozen=True)
class World:
    """The ranks, as one of them sees them. What is called together is called by all of them, in the same order.

    Args:
        rank: of this process, from 0.
        size: number of ranks; with 1 nothing is exchanged.
        store: where ranks leave words for each other; None for one rank.
    """

    rank: int = 0
    size: int = 1
    store: Store | None = None

    @property
    def leads(self) -> bool:
        """Whether this rank writes, prints and decides."""
        return self.rank == 0

    def part(self, rows: int) -> RankPart:
        """The rows of a batch that are this rank's."""
        return part_of(rows, self.rank, self.size)

    def add_up(self, values: Tensor) -> Tensor:
        """The sum of the tensors of all ranks, in place; called together. Every rank gets the same bits."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def agreed(self, votes: Sequence[bool]) -> list[bool]:
        """Which votes any rank has; called together."""
        return [bool(count) for count in self.add_up(torch.tensor(votes, dtype=torch.int64))]

    def told(self, value: Any) -> Any:
        """The value of rank 0, on every rank: JSON values and tensors; called together."""
        if self.size == 1:
            return value
        buffer = io.BytesIO()
        if self.leads:
            torch.save(value, buffer)
        content = torch.frombuffer(bytearray(buffer.getvalue() or b"\0"), dtype=torch.uint8)
        length = torch.tensor([len(content)])
        dist.broadcast(length, src=0)
        if not self.leads:
            content = torch.empty(int(length), dtype=torch.uint8)
        dist.broadcast(content, src=0)
        if self.leads:
            return value
        return torch.load(io.BytesIO(content.numpy().tobytes()), map_location="cpu", weights_only=True)

    def make_equal(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Put rank 0's bits wherever another rank has others; called together.

        Returns:
            The names of what was not equal, on every rank; of training as it should be, none.
        """
        if self.size == 1:
            return []
        sums = torch.stack([_checksum(tensor) for tensor in tensors.values()])
        first = sums.clone()
        dist.broadcast(first, src=0)
        unlike = self.add_up((sums != first).long()).tolist()
        names = [name for name, count in zip(tensors, unlike, strict=True) if count]
        for name in names:
            dist.broadcast(tensors[name], src=0)
        return names

    def is_first_to_fail(self) -> bool:
        """Whether no other rank has failed before this one; among those that fail at once, rank 0 has precedence."""
        if self.store is None:
            return True
        try:
            until = time.monotonic() + (0 if self.leads else _AT_ONCE)
            while time.monotonic() < until and not self.store.check([_FAILED]):
                time.sleep(0.05)
            return bytes(self.store.compare_set(_FAILED, "", str(self.rank))) == str(self.rank).encode()
        except RuntimeError:
            # Rank 0, or torchrun, had the store and is gone.
            return self.leads


ALONE = World()


def _checksum(tensor: Tensor) -> Tensor:
    """A number of the bits of a tensor, int64, on the CPU: equal bits have equal ones."""
    words = tensor.detach().contiguous().reshape(-1).view(torch.uint8).long()
    weights = torch.arange(1, len(words) + 1, device=words.device)
    return (words * weights).sum().cpu()


def rank_device(name: str | None, place: Launch) -> str | None:
    """The device of a rank by the name that is given to all: each has a GPU of its own, or all the CPU.

    Raises:
        ValueError: one GPU for several ranks, or more ranks on this machine than GPUs.
    """
    if place.size == 1 or not torch.cuda.is_available() or (name is not None and not name.startswith("cuda")):
        return name
    if name not in (None, "cuda"):
        raise ValueError(
            f"each of {place.size} ranks needs a GPU of its own; got --device {name}: give cuda, or leave --device out"
        )
    if place.local_size > torch.cuda.device_count():
        raise ValueError(
            f"{place.local_size} ranks on this machine need as many GPUs; torch sees {torch.cuda.device_count()}: "
            "lower --nproc-per-node, or give --device cpu"
        )
    return f"cuda:{place.local_rank}"


def _name_of_start(store: Store, rank: int, size: int) -> str:
    """A name that all ranks of this start agree on, and no earlier one had.

    torchrun's store outlives the ranks, and after a restart it holds the addresses of those that were killed. The name
    is a number that rank 0 draws; it counts for a rank when rank 0 has seen the number that this rank has drawn.
    """
    mine, deadline = uuid.uuid4().hex, time.monotonic() + _PATIENCE.total_seconds()
    store.set(f"advdpnp/start/{rank}", mine)
    while time.monotonic() < deadline:
        if rank == 0:
            others = [f"advdpnp/start/{other}" for other in range(1, size)]
            if store.check(others):
                store.set("advdpnp/starts", " ".join([mine, *(store.get(key).decode() for key in others)]))
                if store.check([f"advdpnp/seen/{mine}/{other}" for other in range(1, size)]):
                    return mine
        elif store.check(["advdpnp/starts"]):
            starts = store.get("advdpnp/starts").decode().split()
            if starts[rank : rank + 1] == [mine]:
                store.set(f"advdpnp/seen/{starts[0]}/{rank}", "yes")
                return starts[0]
        time.sleep(0.02)
    raise ValueError(f"{size} ranks were to start; some did not within {_PATIENCE}: look at what torchrun says of them")


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """The ranks that torchrun started, joined for as long as this lasts; `ALONE` where it started no others.

    NCCL exchanges tensors of GPUs, Gloo those of CPUs. What goes wrong is told by one rank: the others end by
    SystemExit with status 2.

    Args:
        device: of this rank.
    Raises:
        RankError: a ValueError or OSError of this rank alone, which is not rank 0.
    """
    place = launch()
    if place.size == 1:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    shared, rank, size = next(iter(rendezvous("env://", timeout=_PATIENCE)))
    store = PrefixStore(_name_of_start(shared, rank, size), shared)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_PATIENCE)
    world = World(rank, size, store)
    try:
        yield world
    except Exception as error:
        if not world.is_first_to_fail():
            raise ToldByAnotherRank(2) from error
        raise _told_by(world, error) from error
    finally:
        dist.destroy_process_group()


def _told_by(world: World, error: Exception) -> Exception:
    """The error as a user is to read it."""
    where = "" if world.leads else f"rank {world.rank} on {socket.gethostname()}: "
    if isinstance(error, RuntimeError) and (isinstance(error, dist.DistError) or "gloo" in str(error)):
        lost = "the connection to another rank is lost, which was killed or is gone: start again with --resume"
        return RankError(where + lost)
    return RankError(f"{where}{error}") if where and isinstance(error, ValueError | OSError) else error
