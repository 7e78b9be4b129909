"""The optimum of an (annotator, score, loss) triple, over all policies.

It falls into two steps. A margin loss sees scores only, so the best scores Ω* are those of a reward
model without limits. And for a score Ω = f log π + g with f > 0 there is exactly one policy whose
scores are Ω* up to a constant. Both steps are exact: in closed form where there is one.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import linprog
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from luce.errors import LuceError
from luce.models.tabular.annotators import check_annotator
from luce.models.tabular.policy import Outcomes, TabularPolicy
from luce.objectives.losses import MarginLoss
from luce.objectives.scores import Score

NO_OPTIMUM = (
    "This loss has no smallest value here: some outcomes win every comparison with the rest, and "
    "the loss goes on falling as their margins grow. Soften the labels, or take a loss that stops, "
    "such as the square."
)


def score_optimum(
    preference: Float[Tensor, "n n"],
    score: Score,
    loss: MarginLoss,
    outcomes: Outcomes,
    reference: TabularPolicy | None = None,
    proposal: Float[Tensor, "n n"] | TabularPolicy | None = None,
) -> TabularPolicy:
    """The policy that minimizes the mean cost of all pairs, E_q[P φ(z) + (1 − P) φ(−z)].

    `preference[i, j]` = P(i ≻ j); `proposal` q as in `best_scores`. For a Luce annotator p* this
    is p* under `log_prob` (Dumoulin et al., 2023, arXiv:2311.14115, theorem 2), π_ref p*^{1/β}
    under `log_ratio` (eq. 16), and π_ref exp(P(· ≻ q)/τ) under IPO's square.
    """
    return policy_with_scores(
        best_scores(preference, loss, proposal), score, outcomes, reference=reference
    )


def policy_with_scores(
    scores: Float[Tensor, " n"],
    score: Score,
    outcomes: Outcomes,
    reference: TabularPolicy | None = None,
) -> TabularPolicy:
    """The policy with Ω(i) − Ω(j) = scores[i] − scores[j] for all outcomes.

    With Ω = f log π + g that is log π = (scores + C − g)/f, C such that π sums to 1: there is one,
    for f > 0. An error for a score that is not of this form.
    """
    if score.affine is None:
        raise LuceError(f"{score.term} is not f·log π + g. Fit the policy with `fit_pairs`.")
    y = outcomes.uniform().responses(reference)
    zeros = torch.zeros_like(scores)
    f = score.scale * score.affine.f(y) + zeros
    g = score.scale * score.affine.g(y) + zeros
    if not bool((f > 0).all()):
        raise LuceError(f"{score.term}: f must be greater than 0 for every response.")
    target, log_measure = (scores - g) / f, outcomes.measure.log()

    def log_mass(c: Tensor) -> Tensor:
        return target + c / f + log_measure

    # the smallest C with one outcome of probability 1 alone: the sum is 1 or more, and Newton's
    # steps on a convex, rising function go down from there without passing the root
    c = (-f * (target + log_measure)).min()
    for _ in range(200):
        excess = torch.logsumexp(log_mass(c), 0)
        slope = (log_mass(c).softmax(0) / f).sum()
        step = excess / slope
        c = c - step
        if step.abs() <= 1e-15 * (1 + c.abs()):
            break
    return outcomes.normalize(target + c / f)


def best_scores(
    preference: Float[Tensor, "n n"],
    loss: MarginLoss,
    proposal: Float[Tensor, "n n"] | TabularPolicy | None = None,
) -> Float[Tensor, " n"]:
    """The scores Ω, mean 0, that minimize E_q[P φ(Ω(i) − Ω(j)) + (1 − P) φ(Ω(j) − Ω(i))].

    `proposal` says how pairs are drawn: q[i, j], or a policy that both are drawn from; by default
    all pairs alike. Pairs with q = 0 do not count, P of them may be anything.

    - If some scores reproduce P exactly through the loss's link, they are the answer for any q
      (Dumoulin et al., lemma 1). They are found from one row of P.
    - The hinge has corners only: a linear program. There may be other answers as good.
    - Else damped Newton steps to a gradient under 1e-12. Of a loss that is not convex (savage) the
      answer is the stationary point that the steps from 0 lead to.

    Raises LuceError where there is no smallest value: with a loss that never stops (tail I) there
    is one only if no outcome, or group of outcomes, wins every comparison with the rest (Ford,
    1957).
    """
    check_annotator(preference)
    q = _joint(preference, proposal)
    cost = q * preference + (q * (1 - preference)).T  # the weight of φ(Ω(i) − Ω(j))
    exact = _through_the_link(preference, loss)
    if exact is None:
        if loss.tail == "I" and not _comparable(cost):
            raise LuceError(NO_OPTIMUM)
        delta = _hinge_margin(loss)
        exact = _newton(cost, loss.phi) if delta is None else _linear_program(cost, delta)
    return exact - exact.mean()


def _joint(preference: Tensor, proposal: Tensor | TabularPolicy | None) -> Float[Tensor, "n n"]:
    if proposal is None:
        proposal = torch.ones_like(preference)
    elif isinstance(proposal, TabularPolicy):
        proposal = torch.outer(proposal.probability, proposal.probability)
    return proposal / proposal.sum()


def _comparable(cost: Tensor) -> bool:
    """Whether outcomes that are compared at all, directly or through others, are also connected by
    wins in both directions."""
    wins = (cost > 0).numpy()
    components = (connected_components(wins, connection=how)[0] for how in ("weak", "strong"))
    return len(set(components)) == 1


def _through_the_link(preference: Tensor, loss: MarginLoss) -> Tensor | None:
    """Ω with loss.probability(Ω(i) − Ω(j)) = P[i, j] for all pairs, or None."""
    if loss.probability is None:
        return None
    anchor = int((preference - 0.5).abs().amax(1).argmin())  # whoever is least certain to win
    column = preference[:, anchor]
    high = torch.full_like(column, 2048.0)
    low = -high
    for _ in range(80):
        middle = (low + high) / 2
        above = loss.probability(middle) > column
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    z = (low + high) / 2
    reached = loss.probability(z.unsqueeze(1) - z)
    agrees = torch.allclose(reached, preference, rtol=1e-9, atol=1e-12)
    # a probability of exactly 0 or 1 stands for no finite margin, or for any margin past an edge
    return z if agrees and bool(((column > 0) & (column < 1)).all()) else None


def _hinge_margin(loss: MarginLoss) -> float | None:
    """δ where φ(z) = max(0, δ − z), else None."""
    z = torch.linspace(-50, 50, 2001, dtype=torch.float64)
    delta = loss.phi(torch.zeros(1, dtype=torch.float64)).item()
    return delta if torch.allclose(loss.phi(z), torch.relu(delta - z)) else None


def _linear_program(cost: Tensor, delta: float) -> Tensor:
    """min Σ cost[i, j] t[i, j] over t ≥ 0, t ≥ δ − Ω(i) + Ω(j)."""
    n = len(cost)
    i, j = (index.numpy() for index in (cost * (1 - torch.eye(n))).nonzero(as_tuple=True))
    pairs = len(i)
    row = np.arange(pairs)
    entries = np.concatenate([np.full(pairs, -1.0), np.full(pairs, 1.0), np.full(pairs, -1.0)])
    columns = np.concatenate([i, j, n + row])
    found = linprog(
        np.concatenate([np.zeros(n), cost.numpy()[i, j]]),
        A_ub=coo_matrix((entries, (np.tile(row, 3), columns)), shape=(pairs, n + pairs)).tocsr(),
        b_ub=np.full(pairs, -delta),
        bounds=[(0.0, 0.0)] + [(None, None)] * (n - 1) + [(0, None)] * pairs,
    )
    if not found.success:
        raise LuceError(f"The hinge's linear program was not solved: {found.message}")
    return torch.from_numpy(found.x[:n])


def _slopes(phi: Callable[[Tensor], Tensor], z: Tensor) -> tuple[Tensor, Tensor]:
    """φ′ and φ″ of every margin."""
    z = z.detach().requires_grad_()
    (first,) = torch.autograd.grad(phi(z).sum(), z, create_graph=True)
    if not first.requires_grad:
        return first, torch.zeros_like(first)
    (second,) = torch.autograd.grad(first.sum(), z)
    return first.detach(), second


def _newton(cost: Tensor, phi: Callable[[Tensor], Tensor], steps: int = 300) -> Tensor:
    n = len(cost)
    omega, identity = torch.zeros(n, dtype=cost.dtype), torch.eye(n, dtype=cost.dtype)

    def total(omega: Tensor) -> Tensor:
        return (cost * phi(omega.unsqueeze(1) - omega)).sum()

    largest = math.inf
    for _ in range(steps):
        first, second = _slopes(phi, omega.unsqueeze(1) - omega)
        push, bend = cost * first, (cost * second).clamp(min=0)
        gradient = push.sum(1) - push.sum(0)
        largest = gradient.abs().max().item()
        if largest <= 1e-12:
            return omega
        bend = bend + bend.T
        hessian = torch.diag(bend.sum(1)) - bend
        # the constant, and whatever pairs never connect, is left where it is
        damping = 1e-10 * bend.sum(1).mean() + 1e-9 * largest
        step = torch.linalg.solve(hessian + damping * identity + bend.mean() / n, gradient)
        size, here = 1.0, total(omega)
        rounding = 1e-14 * here.abs()
        while total(omega - size * step) > here - 1e-4 * size * (gradient @ step) + rounding:
            size /= 2
            if size < 1e-8:
                break
        omega = omega - size * step
    raise LuceError(
        f"The best scores were not reached in {steps} steps: the gradient is still "
        f"{largest:.1e}. Are some labels within rounding of 0 or 1?"
    )
