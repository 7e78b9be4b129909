"""What a guard against over-optimization does with a path whose exact gold reward is known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from luce.diagnostics.overoptimization import Decision, Guard, Point
from luce.lab.tilts import Tilts
from luce.models.tabular import LinearWorld
from luce.online.explore import Trajectory

GOLD_ERROR = 0.04
"""Standard error of the gold reward that a guard sees: that of 500 graded responses or so."""
STEP = 0.125
"""Nats between two points of a path."""


@dataclass(frozen=True)
class Seen:
    """The points that a guard sees, and their gold reward without noise."""

    points: tuple[Point, ...]
    gold: tuple[float, ...]


@dataclass(frozen=True)
class Watch:
    """What a guard did.

    Attributes:
        alarm: its decision; None where it raised none.
        at: number of the point where it spoke; the last one where it did not.
        lost_at_stop: exact gold at the best point of all, seen or not, less that where it spoke.
        lost_at_kept: less that of the point it keeps.
        fall: less that of the last point: what is lost if nobody stops.
    """

    alarm: Decision | None
    at: int
    lost_at_stop: float
    lost_at_kept: float
    fall: float


def seen_along(path: Tilts, world: int, error: float = GOLD_ERROR) -> Seen:
    """Points of one world's path, `STEP` nats apart, gold with normal noise of that error."""
    end = path.kl[-1, world].item()
    kls = [STEP * i for i in range(int(end / STEP) + 1)]
    gold, proxy = (values[:, world].tolist() for values in path.at(kls))
    return _noisy(kls, proxy, gold, error, world)


def seen_in_rounds(
    world: LinearWorld, run: Trajectory, number: int, error: float = GOLD_ERROR
) -> Seen:
    """π₀ and the policy of each round, in one world; the proxy is the reward of that round."""
    start = world.reference[number].exp()
    kls, proxy, gold = [0.0], [0.0], [0.0]
    for kl, theta in zip(run.deployed_kl[:, number], run.theta[:, number], strict=True):
        fitted = world.features[number] @ theta
        policy = (world.reference[number] + fitted / world.eta).log_softmax(-1).exp()
        kls.append(kl.item())
        proxy.append(((policy - start) * fitted).sum(-1).mean().item())
        gold.append(((policy - start) * world.reward[number]).sum(-1).mean().item())
    return _noisy(kls, proxy, gold, error, number)


def _noisy(
    kls: list[float], proxy: list[float], gold: list[float], error: float, seed: int
) -> Seen:
    noise = np.random.default_rng(seed).normal(0.0, 1.0, len(kls)) * error
    rows = zip(kls, proxy, gold, noise.tolist(), strict=True)
    points = tuple(Point(max(k, 0.0), p, g + e, error) for k, p, g, e in rows)
    return Seen(points, tuple(gold))


def watch(seen: Seen) -> Watch:
    """Feed points to a guard until it speaks or they end."""
    guard, top = Guard(), max(seen.gold)
    fall = top - seen.gold[-1]
    for number, (point, exact) in enumerate(zip(seen.points, seen.gold, strict=True)):
        decision = guard.step(point)
        if decision.action != "continue":
            return Watch(decision, number, top - exact, top - seen.gold[decision.keep], fall)
    return Watch(None, len(seen.gold) - 1, fall, fall, fall)


def column(watches: Sequence[Watch], of: Callable[[Watch], float]) -> Float[Tensor, " watches"]:
    """One number of each."""
    return torch.tensor([of(found) for found in watches], dtype=torch.float64)


def spoke(found: Watch) -> float:
    """1 where the guard raised an alarm, 0 where it did not."""
    return float(found.alarm is not None)
