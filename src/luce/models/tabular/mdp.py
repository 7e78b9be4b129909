"""A Markov decision process with finitely many states, solved exactly."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from luce.errors import LuceError


@dataclass(frozen=True)
class MDP:
    """States, actions, and a discount (Dumoulin et al., 2023, arXiv:2311.14115, section 2.1).

    Attributes:
        step: step[s, a, s′] = P(s′ | s, a).
        reward: R(s, a).
        start: P(first state).
        gamma: γ in [0, 1).
    """

    step: Float[Tensor, "states actions states"]
    reward: Float[Tensor, "states actions"]
    start: Float[Tensor, " states"]
    gamma: float

    def __post_init__(self) -> None:
        if not 0 <= self.gamma < 1:
            raise LuceError(f"gamma: {self.gamma:g} must lie in [0, 1).")

    def _chain(self, policy: Float[Tensor, "states actions"]) -> Float[Tensor, "states states"]:
        return torch.einsum("sa,sat->st", policy, self.step)

    def _resolvent(self, policy: Float[Tensor, "states actions"]) -> Float[Tensor, "states states"]:
        return torch.eye(len(self.start), dtype=self.step.dtype) - self.gamma * self._chain(policy)

    def state_values(self, policy: Float[Tensor, "states actions"]) -> Float[Tensor, " states"]:
        """V(s): the expected discounted sum of rewards from s, under policy[s, a] = π(a|s)."""
        return torch.linalg.solve(self._resolvent(policy), (policy * self.reward).sum(1))

    def action_values(
        self, policy: Float[Tensor, "states actions"]
    ) -> Float[Tensor, "states actions"]:
        """Q(s, a) = R(s, a) + γ E[V(s′)]."""
        return self.reward + self.gamma * self.step @ self.state_values(policy)

    def visits(self, policy: Float[Tensor, "states actions"]) -> Float[Tensor, " states"]:
        """Expected discounted visits of each state, Σ_t γᵗ P(s_t = s); they sum to 1/(1 − γ)."""
        return torch.linalg.solve(self._resolvent(policy).T, self.start)

    def value(self, policy: Float[Tensor, "states actions"]) -> Float[Tensor, ""]:
        """E[V(first state)]."""
        return self.start @ self.state_values(policy)

    def policy_gradient(
        self, logits: Float[Tensor, "states actions"]
    ) -> Float[Tensor, "states actions"]:
        """∇ of `value` with respect to the logits of π(a|s) = softmax, by the policy gradient
        theorem: Σ_s visits(s) Σ_a Q(s, a) ∇π(a|s).

        The theorem is often printed with the stationary law of the states in place of the
        discounted visits; that gives the gradient of the average reward, not of this value.
        """
        policy = logits.softmax(1)
        q = self.action_values(policy)
        advantage = q - (policy * q).sum(1, keepdim=True)
        return self.visits(policy).unsqueeze(1) * policy * advantage
