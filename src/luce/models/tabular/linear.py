"""Contextual bandits whose reward is linear in known features: exact values, exact optima.

    r*(x, a) = ⟨θ*, φ(x, a)⟩,   J(π) = E_x[E_π r* − η KL(π(·|x) ‖ π₀(·|x))],   x uniform

Many worlds are held at once, along leading axes, so that a hundred of them cost one pass.
(The setting of Xiong et al., 2024, "Iterative preference learning from human feedback",
arXiv:2312.11456.)
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from luce.errors import LuceError


@dataclass(frozen=True)
class LinearWorld:
    """Contexts with finitely many actions each, a linear reward, and a price on leaving π₀.

    Attributes:
        features: φ(x, a).
        theta: θ*, units of reward.
        reference: log π₀(a|x), normalized over actions, nats.
        eta: η > 0, the price of a nat of KL in units of reward.
    """

    features: Float[Tensor, "*worlds contexts actions d"] = field(repr=False)
    theta: Float[Tensor, "*worlds d"] = field(repr=False)
    reference: Float[Tensor, "*worlds contexts actions"] = field(repr=False)
    eta: float

    def __post_init__(self) -> None:
        if not self.eta > 0:
            raise LuceError(f"eta: {self.eta:g} must be greater than 0.")

    def rewards(self, theta: Float[Tensor, "*worlds d"]) -> Float[Tensor, "*worlds contexts a"]:
        """⟨θ, φ(x, a)⟩ of every action."""
        return torch.einsum("...xad,...d->...xa", self.features, theta)

    @property
    def reward(self) -> Float[Tensor, "*worlds contexts actions"]:
        """r*(x, a)."""
        return self.rewards(self.theta)

    def tilt(
        self,
        reward: Float[Tensor, "*worlds contexts actions"],
        start: Float[Tensor, "*worlds contexts actions"] | None = None,
    ) -> Float[Tensor, "*worlds contexts actions"]:
        """log of π ∝ start · exp(reward/η); start is a log-policy, by default log π₀."""
        start = self.reference if start is None else start
        return (start + reward / self.eta).log_softmax(-1)

    def optimum(self) -> Float[Tensor, "*worlds contexts actions"]:
        """log π*, π* ∝ π₀ exp(r*/η)."""
        return self.tilt(self.reward)

    def expected_reward(
        self, policy: Float[Tensor, "*worlds contexts actions"]
    ) -> Float[Tensor, "*worlds"]:
        """E_x E_π[r*] of a log-policy."""
        return (policy.exp() * self.reward).sum(-1).mean(-1)

    def kl(self, policy: Float[Tensor, "*worlds contexts actions"]) -> Float[Tensor, "*worlds"]:
        """E_x KL(π ‖ π₀) of a log-policy, nats."""
        return (policy.exp() * (policy - self.reference)).sum(-1).mean(-1)

    def value(self, policy: Float[Tensor, "*worlds contexts actions"]) -> Float[Tensor, "*worlds"]:
        """J(π) of a log-policy, in units of reward."""
        return self.expected_reward(policy) - self.eta * self.kl(policy)

    def best_value(self) -> Float[Tensor, "*worlds"]:
        """J(π*) = η E_x log E_π₀[exp(r*/η)]."""
        return self.eta * torch.logsumexp(self.reference + self.reward / self.eta, -1).mean(-1)

    def regret(self, policy: Float[Tensor, "*worlds contexts actions"]) -> Float[Tensor, "*worlds"]:
        """J(π*) − J(π) = η E_x KL(π ‖ π*) ≥ 0 of a log-policy."""
        return self.best_value() - self.value(policy)


def fit_theta(
    differences: Float[Tensor, "*worlds n d"],
    label: Float[Tensor, "*worlds n"],
    ridge: float = 1e-2,
    tolerance: float = 1e-9,
    steps: int = 200,
) -> Float[Tensor, "*worlds d"]:
    """The θ that minimizes Σ −[p log σ(z) + (1−p) log σ(−z)] + ½ ridge ‖θ‖², z = ⟨θ, Δφ⟩: the
    Bradley–Terry likelihood of n comparisons, by Newton's method with a backtracking line search.

    With one-hot features it is the maximum a posteriori of a table of rewards under N(0, 1/ridge).

    Args:
        differences: φ(x, a) − φ(x, b) of each comparison.
        label: P(a is preferred to b), 0 to 1.
        ridge: > 0; without it the optimum of separable comparisons lies at infinity.
        tolerance: the largest entry of the gradient that is taken for 0.
        steps: Newton steps at most.

    Raises:
        LuceError: `ridge` is not positive, or the gradient has not vanished after `steps`.
    """
    if not ridge > 0:
        raise LuceError(f"ridge: {ridge:g} must be greater than 0.")

    def cost(theta: Tensor) -> Tensor:
        z = torch.einsum("...nd,...d->...n", differences, theta)
        likelihood = label * logsigmoid(z) + (1 - label) * logsigmoid(-z)
        return 0.5 * ridge * theta.square().sum(-1) - likelihood.sum(-1)

    theta = differences.new_zeros(*differences.shape[:-2], differences.shape[-1])
    prior = ridge * torch.eye(theta.shape[-1], dtype=theta.dtype, device=theta.device)
    here, largest = cost(theta), 0.0
    for _ in range(steps):
        p = torch.einsum("...nd,...d->...n", differences, theta).sigmoid()
        gradient = torch.einsum("...n,...nd->...d", p - label, differences) + ridge * theta
        largest = gradient.abs().max().item()
        if largest <= tolerance:
            return theta
        weighted = differences * (p * (1 - p)).unsqueeze(-1)
        hessian = differences.mT @ weighted + prior
        step = torch.cholesky_solve(gradient.unsqueeze(-1), torch.linalg.cholesky(hessian))
        theta, here = _descend(cost, theta, here, step.squeeze(-1), gradient)
    raise LuceError(
        f"The ridge fit has a gradient of {largest:.1e} after {steps} Newton steps; use float64, "
        "a larger ridge or more steps."
    )


def _descend(
    cost: Callable[[Tensor], Tensor], theta: Tensor, here: Tensor, step: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor]:
    """One step, halved in each world until its cost falls as a descent must (Armijo)."""
    fall = (step * gradient).sum(-1)
    size = torch.ones_like(here)
    there = theta - step
    after = cost(there)
    for _ in range(40):
        # the last digits of a sum of logarithms may rise by rounding
        short = after > here - 1e-4 * size * fall + 1e-12 * here.abs()
        if not short.any():
            break
        size = torch.where(short, size / 2, size)
        there = theta - size.unsqueeze(-1) * step
        after = cost(there)
    return there, after


def _drawn(
    worlds: int, contexts: int, actions: int, d: int, scale: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Normal features with rewards of standard deviation `scale`, and a direction θ*, ‖θ*‖ = √d."""
    generator = torch.Generator().manual_seed(seed)
    shape = (worlds, contexts, actions, d)
    features = torch.randn(shape, generator=generator, dtype=torch.float64) * scale / d**0.5
    theta = torch.randn(worlds, d, generator=generator, dtype=torch.float64)
    return features, d**0.5 * theta / theta.norm(dim=-1, keepdim=True)


def coverage_gap(
    worlds: int, seed: int = 0, contexts: int = 20, actions: int = 20, d: int = 12
) -> LinearWorld:
    """Worlds whose π₀ hides half of the features: 98 % of it lies, evenly, on three quarters of the
    actions, which are 0 in the last d/2 features; 2 % on the last quarter, which shows them all."""
    features, theta = _drawn(worlds, contexts, actions, d, 1.6, seed)
    common = actions - actions // 4
    features[..., :common, d // 2 :] = 0.0
    mass = torch.full((actions,), 0.02 / (actions - common), dtype=torch.float64)
    mass[:common] = 0.98 / common
    return LinearWorld(features, theta, mass.log().expand(worlds, contexts, actions), 0.5)


def biased(
    worlds: int, seed: int = 0, contexts: int = 20, actions: int = 20, d: int = 10
) -> LinearWorld:
    """Worlds whose π₀ avoids good actions: π₀ ∝ exp(−0.8 r*)."""
    features, theta = _drawn(worlds, contexts, actions, d, 1.2, seed)
    reward = torch.einsum("...xad,...d->...xa", features, theta)
    return LinearWorld(features, theta, (-0.8 * reward).log_softmax(-1), 0.5)


def cover(
    worlds: int, seed: int = 0, contexts: int = 20, actions: int = 20, d: int = 10
) -> LinearWorld:
    """Worlds whose π₀ is uniform, and so shows every feature."""
    features, theta = _drawn(worlds, contexts, actions, d, 1.2, seed)
    return LinearWorld(features, theta, torch.zeros_like(features[..., 0]).log_softmax(-1), 0.5)


def long_tail(worlds: int, seed: int = 0, actions: int = 400) -> LinearWorld:
    """One context, one-hot features (a table of rewards), π₀(k) ∝ 1/k (Zipf), and rare actions
    worse on average: r*(k) = −0.6 log k + 0.7 N(0, 1), up to a constant. η = ½."""
    generator = torch.Generator().manual_seed(seed)
    rank = torch.arange(1, actions + 1, dtype=torch.float64).log()
    noise = torch.randn(worlds, actions, generator=generator, dtype=torch.float64)
    features = torch.eye(actions, dtype=torch.float64).expand(worlds, 1, actions, actions)
    reference = (-rank).log_softmax(-1).expand(worlds, 1, actions)
    return LinearWorld(features, 0.7 * noise - 0.6 * (rank - rank.mean()), reference, 0.5)


LINEAR_WORLDS: dict[str, Callable[..., LinearWorld]] = {
    "gap": coverage_gap,
    "biased": biased,
    "cover": cover,
}
"""The worlds in which learning online and offline are compared."""
