"""The KL-regularized bandit, and the gradients that climb it.

    J(π) = E_π[r] − β KL(π ‖ π_ref),    π* = π_ref exp(r/β)/Z,    J* = β log Z

Its optimum is Gibbs's: the energy is −r, β the temperature, −J* the free energy.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from luce.errors import LuceError
from luce.models.tabular.policy import TabularPolicy


@dataclass(frozen=True)
class KlBandit:
    """One choice among finitely many outcomes, with a reward and a price on leaving the reference.

    Attributes:
        reference: π_ref.
        reward: r of each outcome.
        beta: β > 0, the price of a nat of KL in units of reward.
    """

    reference: TabularPolicy
    reward: Float[Tensor, " outcomes"] = field(repr=False)
    beta: float

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise LuceError(f"beta: {self.beta:g} must be greater than 0.")

    def value(self, policy: TabularPolicy) -> Float[Tensor, ""]:
        """J(π) = E_π[r] − β KL(π ‖ π_ref), in units of reward."""
        return policy.expectation(self.reward) - self.beta * policy.kl(self.reference)

    def optimum(self) -> TabularPolicy:
        """π* ∝ π_ref exp(r/β)."""
        outcomes = self.reference.outcomes
        return outcomes.normalize(self.reference.log_prob + self.reward / self.beta)

    @property
    def log_partition(self) -> Float[Tensor, ""]:
        """log Z = log E_{π_ref}[exp(r/β)]."""
        log_mass = self.reference.log_prob + self.reference.outcomes.measure.log()
        return torch.logsumexp(log_mass + self.reward / self.beta, 0)

    @property
    def best_value(self) -> Float[Tensor, ""]:
        """J* = J(π*) = β log Z."""
        return self.beta * self.log_partition

    def regret(self, policy: TabularPolicy) -> Float[Tensor, ""]:
        """J* − J(π) = β KL(π ‖ π*)."""
        return self.best_value - self.value(policy)


def acceptance(reward: Float[Tensor, "*shape"], beta: float) -> Float[Tensor, "*shape"]:
    """exp((r − max r)/β), in (0, 1]: who draws from π_ref and keeps a draw with this probability
    draws from the optimum (statistical rejection sampling; Liu et al., 2024, arXiv:2309.06657).

    Args:
        reward: r of each outcome, in units of β; the best of them is always kept.
        beta: β > 0.

    Raises:
        LuceError: β is not greater than 0.
    """
    if not beta > 0:
        raise LuceError(f"beta: {beta:g} must be greater than 0.")
    return ((reward - reward.max()) / beta).exp()


def policy_gradient(
    policy: TabularPolicy, reward: Float[Tensor, " outcomes"]
) -> Float[Tensor, " outcomes"]:
    """E_π[r ∇ log π] with respect to the logits of π, for a reward that does not depend on π
    (REINFORCE; Dumoulin et al., 2023, arXiv:2311.14115, eq. 4). With softmax logits it is
    π(y) (r(y) − E_π[r])."""
    return policy.probability * (reward - policy.expectation(reward))


def kl_control_gradient(policy: TabularPolicy, bandit: KlBandit) -> Float[Tensor, " outcomes"]:
    """∇ J(π) with respect to the logits of π: E_π[(r − β log π/π_ref) ∇ log π].

    The term −β E_π[∇ log π] that comes of differentiating the logarithm itself is 0 in expectation,
    so treating the log-ratio as part of the reward, without gradient, loses nothing. (Dumoulin et
    al., 2023, eq. 5.)
    """
    ratio = policy.log_prob - bandit.reference.log_prob
    return policy_gradient(policy, bandit.reward - bandit.beta * ratio)
