"""Preferences that no reward explains: the game of two policies, each to be preferred.

P[i, j] = P(i ≻ j). A policy π against π′ wins with probability πᵀ P π′; at a price η of a nat of KL
it is worth

    V(π, π′) = πᵀ P π′ − η KL(π ‖ π_ref) + η KL(π′ ‖ π_ref),

½ where the two are equal. (Munos et al., 2023, arXiv:2312.00886, section 4.)
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import linprog
from torch import Tensor

from luce.errors import LuceError
from luce.models.tabular.annotators import check_annotator
from luce.models.tabular.bandit import KlBandit
from luce.models.tabular.policy import TabularPolicy, actions

SHRINK = 2.0
"""How much smaller the next price is, on the way from a large one, whose equilibrium is near."""

STEPS = 200
"""Newton's steps at each price, at most; 5 to 15 are usual."""


def regularized_nash(
    preference: Float[Tensor, "n n"],
    reference: TabularPolicy,
    eta: float,
    tolerance: float = 1e-13,
) -> TabularPolicy:
    """The equilibrium of V: the π ∝ π_ref exp(P π/η), of which there is one, for each player's gain
    is strictly concave and the game is zero-sum.

    π is where the exploitability, convex in π, is 0: Newton's method finds it at a price of 1 or
    more and follows it down to η. Reached where one more application of the map changes no
    probability by more than `tolerance`, or than rounding does, 1e-14/η; an error elsewhere.
    """
    check_annotator(preference)
    if not eta > 0:
        raise LuceError(f"eta: {eta:g} must be greater than 0. For 0 see `nash_equilibrium`.")
    outcomes = reference.outcomes
    start = reference.log_prob + outcomes.measure.log()
    possible = start.isfinite()
    p, start = preference[possible][:, possible], start[possible]
    price, log_pi = max(eta, 1.0), start
    while True:
        log_pi = _least_exploitable(p, start, price, log_pi, max(tolerance, 1e-14 / price))
        if price <= eta:
            break
        price = max(price / SHRINK, eta)
    found = torch.full_like(reference.log_prob, -torch.inf)
    found[possible] = log_pi
    return TabularPolicy(outcomes, found - outcomes.measure.log())


def _least_exploitable(
    p: Tensor, reference: Tensor, eta: float, log_pi: Tensor, tolerance: float
) -> Tensor:
    """log π of the equilibrium, from `log_pi`. Newton's step δ of log π, where Σ π δ = 0, on

        η KL(π ‖ π̂),  π̂ ∝ π_ref exp(P π/η),

    which is convex in π; its gradient is Pᵀ π̂ + η log π/π_ref up to a constant."""
    n = len(reference)
    system = torch.zeros(n + 1, n + 1, dtype=log_pi.dtype)
    system[:n, n] = 1
    moved = torch.ones(())
    for _ in range(STEPS):
        pi, answer = log_pi.exp(), _answer(p, reference, eta, log_pi)
        q = answer.exp()
        moved = (q - pi).abs().max()
        if moved <= tolerance:
            return answer
        gradient = p.T @ q + eta * (log_pi - reference)
        bend = p.T @ (torch.diag(q) - torch.outer(q, q)) @ p
        system[:n, :n] = bend * pi / eta + eta * torch.eye(n, dtype=pi.dtype)
        system[n, :n] = pi
        step = torch.linalg.solve(system, torch.cat([-gradient, gradient.new_zeros(1)]))[:n]
        size, here = 1.0, _cost(p, reference, eta, log_pi)
        slope = (pi * gradient * step).sum()
        while size > 1e-12:
            there = (log_pi + size * step).log_softmax(0)
            # 1e-15: what rounding adds
            if _cost(p, reference, eta, there) <= here + 1e-4 * size * slope + 1e-15:
                break
            size /= 2
        log_pi = (log_pi + size * step).log_softmax(0)
    raise LuceError(
        f"The regularized equilibrium at eta = {eta:g} was not reached: one application of the map "
        f"still moves a probability by {moved.item():.1e}. Try a larger eta."
    )


def _answer(p: Tensor, reference: Tensor, eta: float, log_pi: Tensor) -> Tensor:
    return (reference + p @ log_pi.exp() / eta).log_softmax(0)


def _cost(p: Tensor, reference: Tensor, eta: float, log_pi: Tensor) -> Tensor:
    pi = log_pi.exp()
    ratio = log_pi - _answer(p, reference, eta, log_pi)
    return eta * (pi * torch.where(pi > 0, ratio, 0.0)).sum()


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


def geometric_mixture(policies: Sequence[TabularPolicy], weights: Sequence[float]) -> TabularPolicy:
    """∝ Π πᵢ^wᵢ, weights ≥ 0 with sum 1: of whole responses, where each outcome is one. A policy of
    weight 0 does not count, even where it gives no probability.

    >>> a, b = actions(2).weights([0.8, 0.2]), actions(2).weights([0.2, 0.8])
    >>> [round(p, 3) for p in geometric_mixture([a, b], [0.5, 0.5]).probability.tolist()]
    [0.5, 0.5]

    Raises:
        LuceError: another number of weights, one under 0, a sum that is not 1, or policies that
            have no outcome in common.
    """
    if len(weights) != len(policies) or not weights or min(weights) < 0:
        raise LuceError(
            f"weights: {list(weights)} for {len(policies)} policies; give one each, 0 or more."
        )
    if abs(sum(weights) - 1) > 1e-9:
        raise LuceError(f"weights: {list(weights)} sum to {sum(weights):g}, not to 1.")
    parts = [w * p.log_prob for w, p in zip(weights, policies, strict=True) if w > 0]
    return policies[0].outcomes.normalize(torch.stack(parts).sum(0))


def best_response(
    policy: TabularPolicy,
    preference: Float[Tensor, "n n"],
    reference: TabularPolicy,
    eta: float,
) -> TabularPolicy:
    """The policy that is worth most against `policy`: ∝ π_ref exp(P π/η), η > 0."""
    return KlBandit(reference, preference @ policy.probability, eta).optimum()


def exploitability(
    policy: TabularPolicy,
    preference: Float[Tensor, "n n"],
    reference: TabularPolicy | None = None,
    eta: float = 0.0,
) -> float:
    """max V(·, π) − ½ ≥ 0: what the best answer to π is worth above a draw; 0 at the equilibrium
    alone. In units of win rate.

    With η > 0 it is η KL(π ‖ best response), since πᵀ P π = ½; with η = 0 it is max (P π) − ½, and
    there is no reference.

    >>> rock = actions(3).weights([1.0, 0.0, 0.0])
    >>> rows = [[0.5, 0.9, 0.3], [0.1, 0.5, 0.8], [0.7, 0.2, 0.5]]
    >>> wins = torch.tensor(rows, dtype=torch.float64)
    >>> round(exploitability(rock, wins), 6)
    0.2

    Raises:
        LuceError: P is no annotator, η < 0, or η > 0 without a reference.
    """
    check_annotator(preference)
    return exploitabilities(policy.log_prob.unsqueeze(0), preference, reference, eta)[0].item()


def exploitabilities(
    log_probs: Float[Tensor, "policies n"],
    preference: Float[Tensor, "n n"],
    reference: TabularPolicy | None = None,
    eta: float = 0.0,
) -> Float[Tensor, " policies"]:
    """`exploitability` of many policies on actions, row by row."""
    if eta < 0 or (eta > 0 and reference is None):
        raise LuceError(
            f"eta: {eta:g} must be at least 0, and above 0 there is a reference to be near to."
        )
    if reference is None or eta == 0:
        weights = log_probs.exp()
        if reference is not None:
            weights = weights * reference.outcomes.measure
        return (weights @ preference.T).amax(1) - 0.5
    log_measure = reference.outcomes.measure.log()
    pi = (log_probs + log_measure).exp()
    answers = reference.log_prob + log_measure + pi @ preference.T / eta
    ratio = log_probs + log_measure - answers.log_softmax(1)
    return eta * (pi * torch.where(pi > 0, ratio, 0.0)).sum(1)


def duality_gap(
    policy: TabularPolicy,
    preference: Float[Tensor, "n n"],
    reference: TabularPolicy | None = None,
    eta: float = 0.0,
) -> float:
    """max V(·, π) − min V(π, ·), in units of win rate: twice the `exploitability`, for the game is
    the same from both sides."""
    return 2 * exploitability(policy, preference, reference, eta)


def worst_case_win_rate(policy: TabularPolicy, preference: Float[Tensor, "n n"]) -> float:
    """min πᵀ P: how often π wins against the one response that beats it most often; ½ at best."""
    check_annotator(preference)
    return (policy.probability @ preference).min().item()


def rotation(
    policy: TabularPolicy,
    preference: Float[Tensor, "n n"],
    eta: float,
) -> float:
    """λ, the spectral radius of the derivative of π ↦ π_ref exp(P π/η)/Z with respect to log π.

    At the equilibrium its eigenvalues are imaginary, or the game would not be zero-sum: answering
    one another turns round the equilibrium. Undamped answers come nearer where λ < 1 and cycle
    where λ > 1; with a damping d they come nearer by |1 − d + i d λ| a step, where
    d < 2/(1 + λ²), and soonest at d = 1/(1 + λ²).
    """
    p = policy.probability
    turn = (preference - p @ preference) * p / eta
    return torch.linalg.eigvals(turn).abs().max().item()
