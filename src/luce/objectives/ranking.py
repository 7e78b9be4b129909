"""Objectives on lists: K responses to one prompt, graded or ranked.

A list costs a function of the scores Ω of its responses and of the grades R that the annotator
gave them. Lists of different lengths stand in one padded matrix; padding takes no part.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from luce.errors import LuceError
from luce.objectives.check import check_lengths, number
from luce.objectives.needs import Needing
from luce.objectives.objective import log_prob_metrics
from luce.objectives.score import Score
from luce.objectives.writing import total
from luce.types import Lists, PerGroup, Responses, Scope, Structure


@dataclass(frozen=True)
class Matrix:
    """Lists side by side.

    Attributes:
        omega: Ω of each response, 0 where there is none.
        grade: R of each response, 0 where there is none.
        there: where there is a response.
    """

    omega: Float[Tensor, "lists k"]
    grade: Float[Tensor, "lists k"]
    there: Bool[Tensor, "lists k"]

    def probabilities(
        self, values: Float[Tensor, "lists k"]
    ) -> tuple[Float[Tensor, "lists k"], Float[Tensor, "lists k"]]:
        """softmax and log-softmax over the responses of each list; 0 where there is none."""
        low = torch.finfo(values.dtype).min
        log_p = torch.where(self.there, values, low).log_softmax(1)
        log_p = torch.where(self.there, log_p, torch.zeros_like(log_p))
        return torch.where(self.there, log_p.exp(), torch.zeros_like(log_p)), log_p

    @property
    def size(self) -> Float[Tensor, "lists 1"]:
        """K of each list."""
        return self.there.sum(1, keepdim=True).to(self.omega.dtype)

    def preferred(self) -> Bool[Tensor, "lists k k"]:
        """[i, j]: response i was graded higher than j."""
        both = self.there[:, :, None] & self.there[:, None, :]
        return both & (self.grade[:, :, None] > self.grade[:, None, :])


@dataclass(frozen=True)
class ListLoss:
    """A cost of lists.

    Attributes:
        value: lists side by side -> cost of each.
        formula: of Ω written out -> the cost written out.
        ordinal: whether grades count by their order alone.
    """

    value: Callable[[Matrix], PerGroup]
    formula: Callable[[str], str]
    ordinal: bool = False


def pairwise_hinge() -> ListLoss:
    """Σ_{R_i > R_j} max(0, Ω_j − Ω_i) (Yuan et al., 2023, arXiv:2304.05302, eq. 3): the hinge
    with a margin of 0."""

    def value(m: Matrix) -> PerGroup:
        behind = F.relu(m.omega[:, None, :] - m.omega[:, :, None])
        return torch.where(m.preferred(), behind, torch.zeros_like(behind)).sum((1, 2))

    return ListLoss(value, lambda o: f"Σ_(R_i > R_j) max(0, {o}(j) − {o}(i))", ordinal=True)


def plackett_luce() -> ListLoss:
    """−Σ_k log softmax of the k-th best among those not better than it: the likelihood of the
    ranking (Rafailov et al., 2023, arXiv:2305.18290, appendix A.3). Tied responses keep the order
    of the data."""

    def value(m: Matrix) -> PerGroup:
        low = torch.finfo(m.omega.dtype).min
        order = torch.where(m.there, m.grade, low).argsort(dim=1, descending=True, stable=True)
        there = m.there.gather(1, order)
        omega = torch.where(there, m.omega.gather(1, order), low)
        suffix = omega.flip(1).logcumsumexp(1).flip(1)
        return torch.where(there, suffix - omega, torch.zeros_like(omega)).sum(1)

    return ListLoss(value, lambda o: f"−Σ_k log softmax_(rank ≥ k) {o}", ordinal=True)


def soft_cross_entropy(alpha: float = 0.01) -> ListLoss:
    """−Σ softmax(R/α) log softmax(Ω) (InfoNCA: Chen et al., 2024, arXiv:2402.05369, eq. 9)."""

    def value(m: Matrix) -> PerGroup:
        target, _ = m.probabilities(m.grade / alpha)
        return -(target * m.probabilities(m.omega)[1]).sum(1)

    return ListLoss(value, lambda o: f"−Σ softmax(R/{number(alpha)})·log softmax({o})")


def noise_contrast(alpha: float = 0.01) -> ListLoss:
    """−Σ [softmax(R/α) log σ(Ω) + (1/K) log σ(−Ω)] (NCA: Chen et al., 2024, arXiv:2402.05369,
    eq. 11)."""

    def value(m: Matrix) -> PerGroup:
        target, _ = m.probabilities(m.grade / alpha)
        cost = -target * F.logsigmoid(m.omega) - F.logsigmoid(-m.omega) / m.size
        return torch.where(m.there, cost, torch.zeros_like(cost)).sum(1)

    a = number(alpha)
    return ListLoss(value, lambda o: f"−Σ [softmax(R/{a})·log σ({o}) + log σ(−{o})/K]")


def forward_kl(beta_r: float = 0.1) -> ListLoss:
    """KL(softmax(R/β_r) ‖ softmax(Ω)): DPO-rw (Ji et al., 2024, arXiv:2402.00856, section 3)."""

    def value(m: Matrix) -> PerGroup:
        target, log_target = m.probabilities(m.grade / beta_r)
        return (target * (log_target - m.probabilities(m.omega)[1])).sum(1)

    return ListLoss(value, lambda o: f"KL(softmax(R/{number(beta_r)}) ‖ softmax({o}))")


def reverse_kl(beta_r: float = 0.1) -> ListLoss:
    """KL(softmax(Ω) ‖ softmax(R/β_r)): EXO-rw (Ji et al., 2024, arXiv:2402.00856, eq. 13)."""

    def value(m: Matrix) -> PerGroup:
        p, log_p = m.probabilities(m.omega)
        return (p * (log_p - m.probabilities(m.grade / beta_r)[1])).sum(1)

    return ListLoss(value, lambda o: f"KL(softmax({o}) ‖ softmax(R/{number(beta_r)}))")


def lambda_weighted(psi: Literal["score", "rank"] = "score") -> ListLoss:
    """Σ_{R_i > R_j} Δ_ij log(1 + e^(Ω_j − Ω_i)), Δ_ij = |2^ψ_i − 2^ψ_j| · |1/log(1 + τ_i) − 1/log(1
    + τ_j)|, τ the rank (from 1) that the policy's own Ω gives, without gradient (Liu et al.,
    2024, arXiv:2402.01878, eq. 9).

    ψ is the grade itself, or with "rank" how many responses of the list were graded lower.
    """

    def value(m: Matrix) -> PerGroup:
        gain = m.preferred().sum(2).to(m.omega.dtype) if psi == "rank" else m.grade
        gain = torch.exp2(gain)
        low = torch.finfo(m.omega.dtype).min
        order = torch.where(m.there, m.omega.detach(), low).argsort(
            dim=1, descending=True, stable=True
        )
        rank = order.argsort(1).to(m.omega.dtype) + 1
        discount = 1 / torch.log1p(rank)
        delta = (gain[:, :, None] - gain[:, None, :]) * (
            discount[:, :, None] - discount[:, None, :]
        )
        cost = delta.abs() * F.softplus(m.omega[:, None, :] - m.omega[:, :, None])
        return torch.where(m.preferred(), cost, torch.zeros_like(cost)).sum((1, 2))

    return ListLoss(value, lambda o: f"Σ_(R_i > R_j) Δ_ij·log(1 + exp({o}(j) − {o}(i))), ψ = {psi}")


LIST_LOSSES = {
    "pairwise_hinge": pairwise_hinge,
    "plackett_luce": plackett_luce,
    "soft_cross_entropy": soft_cross_entropy,
    "noise_contrast": noise_contrast,
    "forward_kl": forward_kl,
    "reverse_kl": reverse_kl,
    "lambda_weighted": lambda_weighted,
}


@dataclass(frozen=True)
class ListObjective(Needing):
    """What a list costs.

    Attributes:
        score: Ω.
        loss: of the scores and grades.
        best_nll: λ of −log π/|y| of the best response (the first of those graded highest).
        name, parameters, source: which published method this is, for the run's manifest.
    """

    score: Score
    loss: ListLoss
    best_nll: float = 0.0
    name: str = "custom"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    @property
    def structure(self) -> Structure:
        return "list"

    @property
    def needs(self) -> frozenset[str]:
        """What the batch must carry besides log π (`luce.objectives.needs`)."""
        return self.score.needs

    @property
    def scope(self) -> Scope:
        return "group"

    @property
    def formula(self) -> str:
        """The cost of a list, with the numbers that run."""
        return total([self.loss.formula(self.score.formula), *self.regularizers])

    @property
    def regularizers(self) -> list[str]:
        """The likelihood of the best response written out, where it counts."""
        factor = "" if self.best_nll == 1 else f"{number(self.best_nll)}·"
        return [f"{factor}[−log π(best)/|best|]"] if self.best_nll else []

    def matrix(self, batch: Lists) -> Matrix:
        """The lists of a batch side by side; errors where a response has no token or a list less
        than two responses."""
        check_lengths(batch.responses, "responses")
        short = (batch.sizes < 2).nonzero().flatten().tolist()
        if short:
            raise LuceError(
                f"responses: list {short[0]} of the batch has {int(batch.sizes[short[0]])}. A "
                "ranking needs two or more."
            )
        columns = torch.arange(int(batch.sizes.max()), device=batch.sizes.device)
        there = columns < batch.sizes[:, None]

        def side_by_side(values: Tensor) -> Tensor:
            return values.new_zeros(there.shape).masked_scatter(there, values)

        omega = side_by_side(self.score(batch.responses))
        return Matrix(omega, side_by_side(batch.scores), there)

    def __call__(self, batch: Lists) -> PerGroup:
        """The cost of each list."""
        cost = self.loss.value(self.matrix(batch))
        if self.best_nll:
            best = batch.responses.take(_best(batch))
            cost = cost - self.best_nll * best.log_prob / best.length
        return cost

    def weight(self, batch: Lists) -> PerGroup:
        """1: every list counts alike, however long."""
        return torch.ones_like(batch.sizes, dtype=batch.scores.dtype)

    @torch.no_grad()
    def metrics(self, batch: Lists) -> Mapping[str, PerGroup]:
        """rewards/*, logps/*, logps_per_token/* and length/* of the best (`chosen`) and the worst
        (`rejected`) response; rewards/accuracies, the share of differently graded pairs that Ω
        orders as the grades do (ties of Ω count half); nll of the best where it counts."""
        m = self.matrix(batch)
        ordered = torch.sign(m.omega[:, :, None] - m.omega[:, None, :]) / 2 + 0.5
        preferred = m.preferred().to(ordered.dtype)
        values = {"rewards/accuracies": (ordered * preferred).sum((1, 2)) / preferred.sum((1, 2))}
        omega = self.score(batch.responses)
        best, worst = _best(batch), _best(batch, worst=True)
        values["rewards/margins"] = omega[best] - omega[worst]
        for role, index in (("chosen", best), ("rejected", worst)):
            y: Responses = batch.responses.take(index)
            values[f"rewards/{role}"] = omega[index]
            values |= log_prob_metrics(y, role) if y.reward is None else {}
            values[f"length/{role}"] = y.length
            if role == "chosen" and self.best_nll:
                values["nll"] = -y.log_prob / y.length
        return values

    def statistics(self, batch: Lists) -> Mapping[str, PerGroup]:
        """Nothing."""
        return {}


def _best(batch: Lists, worst: bool = False) -> Int[Tensor, " groups"]:
    """The number of the response that was graded highest (lowest) in each list; the first of
    several (the last)."""
    found, start = [], 0
    for size in batch.sizes.tolist():
        grades = batch.scores[start : start + size].tolist()
        pick = min(range(size), key=lambda i: (grades[i], -i)) if worst else (
            max(range(size), key=lambda i: (grades[i], -i))
        )  # fmt: skip
        found.append(start + pick)
        start += size
    return torch.tensor(found, device=batch.sizes.device)
