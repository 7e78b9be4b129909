"""One process or many: the few collectives that the loop needs, and nothing else.

Started by `torchrun`, every rank takes its share of each step's groups, and the gradients of the
*sum* of costs are added up before they are divided by the global weight: the mean is over the
global batch, however unevenly the ranks were loaded. A rank holds the whole model, or a shard of it
(`luce.train.sharded`).

A rank that stops at an error writes it to the store that all ranks share and leaves at once; the
others, whose collectives then break, end with its words instead of waiting.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

from luce.errors import LuceError

T = TypeVar("T")

PATIENCE = timedelta(hours=6)
"""How long a rank waits in a collective: the first rank samples and saves while the others wait."""

HEARING = timedelta(seconds=5)
"""How long a rank whose collective broke waits for the words of the one that stopped."""

STOPPED = "luce/stopped"
"""Key of the shared store under which a rank says why it stops."""


@dataclass(frozen=True)
class World:
    """This process among its peers.

    Attributes:
        rank, size: its number, and how many there are.
        lockstep: every rank must go through as many micro-batches as any other, because weights
            are gathered in each (fsdp2).
    """

    rank: int = 0
    size: int = 1
    lockstep: bool = False

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes files and speaks."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """Every rank's `value`, in rank order."""
        if self.size == 1:
            return [value]
        values: list[T | None] = [None] * self.size
        dist.all_gather_object(values, value)
        return values  # type: ignore[return-value]

    def add_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient by its sum over ranks; a missing one counts as zero. Shards are
        sums already."""
        if self.size == 1:
            return
        for parameter in parameters:
            if isinstance(parameter, DTensor):
                continue
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)

    def barrier(self) -> None:
        """Wait for the others."""
        if self.size > 1:
            dist.barrier()


def join_world() -> World:
    """The world that `torchrun` describes in the environment, or a world of one."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    if not dist.is_initialized():
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=PATIENCE)
    return World(dist.get_rank(), size)


def leave_world(world: World) -> None:
    """Wait for the others, then close the process group. Not after an error: the others may be in
    another collective."""
    if world.size > 1 and dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


@contextmanager
def together(world: World) -> Iterator[None]:
    """What all ranks do: an error on one of them ends all.

    The rank tells the others why it stops; a rank whose collective breaks because another has
    stopped raises the other's words.

    Raises:
        LuceError: another rank stopped, or is gone.
    """
    try:
        yield
    except LuceError as error:
        _tell(world, str(error))
        raise
    except (RuntimeError, ValueError) as error:  # a broken collective has no type of its own
        if world.size == 1:
            raise
        if told := _heard(world, wait=_broken(error)):
            raise LuceError(told) from error
        if _broken(error):
            raise LuceError(
                f"rank {world.rank} of {world.size}: another process of this run has ended or "
                f"cannot be reached ({str(error).splitlines()[0]}). Its own output says why; go on "
                "with --resume."
            ) from error
        _tell(world, f"{type(error).__name__}: {error}")
        raise
    except Exception as error:
        _tell(world, f"{type(error).__name__}: {error}")
        raise


def _broken(error: Exception) -> bool:
    """Whether it is a collective that found its peer gone."""
    if isinstance(error, dist.DistError):
        return True
    text = str(error)
    return any(word in text for word in ("gloo", "NCCL", "Connection closed", "Connection reset"))


def _store() -> dist.Store:
    return dist.distributed_c10d._get_default_store()


def _round() -> str:
    """The key of this start: `torchrun --max-restarts` keeps the store of the start before."""
    return f"{STOPPED}/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"


def _tell(world: World, why: str) -> None:
    """Let the others know why this rank stops; the first to say so is heard."""
    if world.size == 1 or not dist.is_initialized():
        return
    try:
        if _store().add(f"{_round()}/count", 1) == 1:
            _store().set(_round(), f"rank {world.rank} of {world.size} stopped: {why}")
    except RuntimeError:  # the store went with its host: the others see that they are alone
        return


def _heard(world: World, wait: bool) -> str | None:
    """Why another rank stopped, if one did and said so."""
    if not dist.is_initialized():
        return None
    try:
        if wait:
            _store().wait([_round()], HEARING)
        if not _store().check([_round()]):
            return None
        return _store().get(_round()).decode()
    except RuntimeError:  # nobody said anything in time, or the store is gone
        return None


def local_device() -> torch.device:
    """The accelerator of this rank, or the CPU."""
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
        return device
    return torch.device("cpu")
