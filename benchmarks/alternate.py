"""Variants that do the same work, timed in turn in one process."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from benchmarks.flops import synchronize

Batch = TypeVar("Batch")


class LossMismatch(RuntimeError):
    """Two variants that should compute the same thing do not."""


@dataclass(frozen=True)
class Timing:
    """One run of one variant: seconds of this process's CPU time, of the clock, and the loss."""

    cpu_s: float
    wall_s: float
    loss: float


@dataclass(frozen=True)
class Spread:
    """The median of a number over the rounds, and its extremes."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """
        >>> Spread.of([3.0, 1.0, 2.0])
        Spread(median=2.0, low=1.0, high=3.0)
        """
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Variant(Generic[Batch]):
    """A name, what to run on a batch (it returns the loss), and what to do off the clock after."""

    name: str
    step: Callable[[Batch], float]
    after: Callable[[], None] = lambda: None


def timed(step: Callable[[], float], device: str = "cpu") -> Timing:
    """One run; garbage of earlier ones is collected before."""
    gc.collect()
    synchronize(device)
    wall, cpu = time.perf_counter(), time.process_time()
    loss = step()
    synchronize(device)
    return Timing(time.process_time() - cpu, time.perf_counter() - wall, loss)


def alternate(
    variants: Sequence[Variant[Batch]],
    batches: Sequence[Batch],
    tolerance: float,
    device: str = "cpu",
    told: Callable[[str], None] = print,
) -> dict[str, list[Timing]]:
    """Every variant on every batch, one batch a round; each round starts with the next variant.

    Args:
        tolerance: how far a loss may lie from the first variant's on the same batch.
        told: hears of every run.

    Raises:
        LossMismatch: a loss lies farther off.
    """
    times: dict[str, list[Timing]] = {variant.name: [] for variant in variants}
    for number, batch in enumerate(batches):
        turn = number % len(variants)
        for variant in (*variants[turn:], *variants[:turn]):
            timing = timed(lambda: variant.step(batch), device)  # noqa: B023
            variant.after()
            times[variant.name].append(timing)
            told(
                f"round {number + 1}, {variant.name}: {timing.cpu_s:.2f} s CPU, "
                f"{timing.wall_s:.2f} s, loss {timing.loss:.6f}"
            )
        check_losses({name: found[number].loss for name, found in times.items()}, tolerance)
    return times


def check_losses(losses: Mapping[str, float], tolerance: float) -> float:
    """The largest distance from the first loss; LossMismatch where it is above the tolerance.

    >>> check_losses({"a": 0.5, "b": 0.25}, 0.5)
    0.25
    """
    first, expected = next(iter(losses.items()))
    for name, loss in losses.items():
        if not abs(loss - expected) <= tolerance:
            raise LossMismatch(
                f"{name}: loss {loss}, but {first}: {expected} on the same pairs and weights; "
                f"{tolerance:g} is allowed. Their times cannot be compared."
            )
    return max(abs(loss - expected) for loss in losses.values())


def ratios(slow: Sequence[Timing], fast: Sequence[Timing], wall: bool = False) -> Spread:
    """How many times as long `slow` takes as `fast`, round by round."""
    pick: Callable[[Timing], float] = (lambda t: t.wall_s) if wall else (lambda t: t.cpu_s)
    return Spread.of([pick(a) / pick(b) for a, b in zip(slow, fast, strict=True)])
