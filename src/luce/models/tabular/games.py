"""Preferences that no reward explains: the game of two policies, each to be preferred.

P[i, j] = P(i ≻ j). A policy π against π′ wins with probability πᵀ P π′.
"""

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import linprog
from torch import Tensor

from luce.errors import LuceError
from luce.models.tabular.annotators import check_annotator
from luce.models.tabular.policy import Outcomes, TabularPolicy, actions


def regularized_nash(
    preference: Float[Tensor, "n n"],
    reference: TabularPolicy,
    eta: float,
    tolerance: float = 1e-13,
) -> TabularPolicy:
    """The equilibrium of πᵀ P π′ − η KL(π ‖ π_ref) + η KL(π′ ‖ π_ref): the π ∝ π_ref exp(P π/η).

    There is one, for each player's gain is strictly concave and the game is zero-sum. (Munos et
    al., 2023, arXiv:2312.00886, section 4.) Damped Newton steps on log π; an error unless the
    largest change of a probability by one more application of the map is under `tolerance`.
    """
    check_annotator(preference)
    if not eta > 0:
        raise LuceError(f"eta: {eta:g} must be greater than 0. For 0 see `nash_equilibrium`.")
    outcomes, log_pi = reference.outcomes, reference.log_prob

    def image(log_prob: Tensor) -> Tensor:
        p = TabularPolicy(outcomes, log_prob).probability
        return outcomes.normalize(reference.log_prob + preference @ p / eta).log_prob

    def residual(log_prob: Tensor) -> Tensor:
        return log_prob - image(log_prob)

    moved = torch.ones(())
    for _ in range(500):
        gap, now, then = (
            residual(log_pi),
            TabularPolicy(outcomes, log_pi).probability,
            image(log_pi),
        )
        q = TabularPolicy(outcomes, then).probability
        moved = (q - now).abs().max()
        if moved < tolerance:
            return TabularPolicy(outcomes, then)
        slope = (preference - q @ preference) * now / eta  # of the image, with respect to log π
        step = torch.linalg.solve(torch.eye(len(now), dtype=now.dtype) - slope, gap)
        size = 1.0
        while residual(_normalized(outcomes, log_pi - size * step)).norm() > gap.norm():
            size /= 2
            if size < 1e-10:
                break
        log_pi = _normalized(outcomes, log_pi - size * step)
    raise LuceError(
        f"The regularized equilibrium at eta = {eta:g} was not reached: one application of the map "
        f"still moves a probability by {moved.item():.1e}. Try a larger eta."
    )


def _normalized(outcomes: Outcomes, scores: Tensor) -> Tensor:
    return outcomes.normalize(scores).log_prob


def nash_equilibrium(preference: Float[Tensor, "n n"]) -> TabularPolicy:
    """A policy that no other is preferred to with probability over ½, by linear programming: the
    largest v with πᵀ P ≥ v, which is ½."""
    check_annotator(preference)
    n = len(preference)
    p = preference.numpy()
    found = linprog(
        np.append(np.zeros(n), -1.0),
        A_ub=np.hstack([-p.T, np.ones((n, 1))]),
        b_ub=np.zeros(n),
        A_eq=np.append(np.ones(n), 0.0).reshape(1, -1),
        b_eq=[1.0],
        bounds=[(0, None)] * n + [(None, None)],
    )
    return actions(n).weights(torch.from_numpy(np.clip(found.x[:n], 0, None)))
