"""The maximum of a concave likelihood of log-strengths: when it is finite, and where."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from luce.errors import LuceError

STEPS = 200
"""Newton steps before giving up; ten settle most tables, one for each nat the most one-sided."""
LONGEST = 3.0
"""Nats that one step may move an item: further out the curvature says nothing."""


def newton(
    likelihood: Callable[[np.ndarray], tuple[float, np.ndarray, np.ndarray]],
    start: np.ndarray,
    model: str,
) -> np.ndarray:
    """Where a strictly concave function is largest, by Newton's method with halved steps.

    Args:
        likelihood: point → value, gradient, and minus the Hessian (positive definite).
        start: where to begin.
        model: the name that an error gives.

    Raises:
        LuceError: it did not settle, because the votes are too one-sided for float64.
    """
    point = start
    value, gradient, curvature = likelihood(point)
    for _ in range(STEPS):
        try:
            step = np.linalg.solve(curvature, gradient)
        except np.linalg.LinAlgError:
            break
        size = float(np.abs(step).max())
        if not np.isfinite(size):
            break
        step = step * min(1.0, LONGEST / max(size, 1e-300))
        point, (value, gradient, curvature) = _climb(likelihood, point, step, value, gradient)
        # Newton's error squares from step to step: after one of 1e-8 nothing is left to gain
        if size < 1e-8:
            return point
    raise LuceError(
        f"{model}: the maximum did not settle in {STEPS} Newton steps; some item wins all but a "
        "vanishing part of its votes. Give `prior_sd` (2.0, say), or leave that item out."
    )


def _climb(
    likelihood: Callable[[np.ndarray], tuple[float, np.ndarray, np.ndarray]],
    point: np.ndarray,
    step: np.ndarray,
    value: float,
    gradient: np.ndarray,
) -> tuple[np.ndarray, tuple[float, np.ndarray, np.ndarray]]:
    """The step, halved until it gains a part of what the slope promises, up to rounding."""
    promised = float(gradient @ step)
    tolerance = 1e-13 * (1 + abs(value))
    for halving in range(60):
        part = 0.5**halving
        found = likelihood(point + part * step)
        if found[0] >= value + 1e-4 * part * promised - tolerance:
            return point + part * step, found
    return point, likelihood(point)


def groups(beat: np.ndarray) -> list[np.ndarray]:
    """The strongly connected components of the graph with an edge i → j where `beat[i, j]`, each
    as sorted item numbers; a component whose members beat those of another comes before it.

    One component is Ford's condition for a finite Bradley-Terry maximum (Ford, 1957): in every
    split of the items in two, somebody on each side has beaten somebody on the other.
    """
    edges = beat > 0
    if _reached(edges).all() and _reached(edges.T).all():
        return [np.arange(len(beat))]
    graph = csr_array(edges)
    count, labels = connected_components(graph, directed=True, connection="strong")
    start, end = graph.nonzero()
    over = np.zeros((count, count), dtype=bool)
    over[labels[start], labels[end]] = True
    np.fill_diagonal(over, False)
    order: list[int] = []
    left = np.ones(count, dtype=bool)
    while left.any():
        undefeated = np.flatnonzero(left & ~over[left].any(axis=0))
        order += undefeated.tolist()
        left[undefeated] = False
    return [np.flatnonzero(labels == label) for label in order]


def _reached(edges: np.ndarray) -> np.ndarray:
    """Which items a path leads to from the first; the few long steps of a dense graph."""
    reached = np.zeros(len(edges), dtype=bool)
    reached[0] = True
    while True:
        further = reached | edges[reached].any(axis=0)
        if (further == reached).all():
            return reached
        reached = further


def pieces(compared: np.ndarray) -> list[np.ndarray]:
    """The connected components of the graph of who was compared with whom, as item numbers."""
    count, labels = connected_components(csr_array(compared > 0), directed=False)
    return [np.flatnonzero(labels == label) for label in range(count)]


def require_finite_maximum(beat: np.ndarray, names: Sequence[str], model: str) -> None:
    """Raise a LuceError that names the groups unless Ford's condition holds for `beat`."""
    found = groups(beat)
    if len(found) == 1:
        return
    apart = pieces(beat)
    if len(apart) > 1:
        shown = "; ".join(_named(group, names) for group in apart)
        raise LuceError(
            f"{model}: the votes fall into {len(apart)} groups that nothing compares: {shown}. "
            "Rank each group by itself, gather votes between them, or give `prior_sd` (2.0, say)."
        )
    shown = "; ".join(_named(group, names) for group in found)
    raise LuceError(
        f"{model} has no finite maximum (Ford, 1957): the votes fall into {len(found)} groups, "
        f"best first, and nobody ever beat somebody of a group before its own: {shown}. Rank each "
        "group by itself, gather votes between them, or give `prior_sd` (2.0, say)."
    )


def _named(group: np.ndarray, names: Sequence[str]) -> str:
    shown = ", ".join(names[int(i)] for i in group[:8])
    return "{" + shown + (f" and {len(group) - 8} more" if len(group) > 8 else "") + "}"
