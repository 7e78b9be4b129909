"""Methods outside the table are compositions of the same parts: the shape holds them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from luce.errors import LuceError
from luce.numerics import segment_sum
from luce.objectives import LOSSES, LabelModel, MarginLoss, Objective, Score, TargetMargin
from luce.objectives.presets import dpo, simpo
from luce.objectives.scores import log_ratio, mean_log_prob
from luce.types import CostFunction, Lists, PerGroup, Responses, Structure


def test_token_weights_that_depend_on_both_responses(pairs):
    """LD-DPO: the tail beyond the shorter of the two counts α; α = 1 is DPO."""

    def desensitized(alpha: float) -> Score:
        def value(y: Responses, other: Responses) -> torch.Tensor:
            starts = torch.cumsum(y.lengths, 0) - y.lengths
            position = torch.arange(len(y.policy)) - torch.repeat_interleave(starts, y.lengths)
            shared = torch.repeat_interleave(torch.minimum(y.lengths, other.lengths), y.lengths)
            weight = torch.where(position < shared, 1.0, alpha).to(y.policy.dtype)
            return segment_sum(weight * (y.policy - y.reference), y.lengths)

        return Score("head + α·tail of log π/π_ref", value, 0.1, needs_reference=True)

    one = pairs()
    torch.testing.assert_close(Objective(desensitized(1.0), LOSSES["logistic"])(one), dpo()(one))
    z = Objective(desensitized(0.0), LOSSES["logistic"]).margin(one)
    c, r = one.chosen, one.rejected  # the first pair: 2 against 4 tokens, so 2 of the 4 count
    head = (c.policy - c.reference)[:2].sum() - (r.policy - r.reference)[:2].sum()
    torch.testing.assert_close(z[0], 0.1 * head)


@pytest.mark.parametrize("lam", [0.0, 5.0])
def test_a_target_margin_that_reads_policy_and_reference(lam, pairs):
    """DPOP: −log σ(β(h − λ max(0, log π_ref(chosen) − log π(chosen)))); λ = 0 is DPO."""

    def penalty(p) -> torch.Tensor:
        return 0.1 * lam * F.relu(p.chosen.reference_log_prob - p.chosen.log_prob)

    target = TargetMargin(penalty, "0.1·λ·max(0, −log π/π_ref(chosen))", needs_reference=True)
    one = replace(pairs(), label=None)
    expected = -F.logsigmoid(dpo().margin(one) - penalty(one))
    torch.testing.assert_close(replace(dpo(), target_margin=target)(one), expected)


def test_a_target_margin_of_the_data(pairs):
    """ODPO: −log σ(β h − α log(s_w − s_l))."""
    one = replace(
        pairs(),
        label=None,
        score_chosen=torch.tensor([2.0, 3.0, 9.0, 1.5], dtype=torch.float64),
        score_rejected=torch.tensor([1.0, 1.0, 1.0, 1.0], dtype=torch.float64),
    )
    target = TargetMargin(lambda p: (p.score_chosen - p.score_rejected).log(), "log(s_w − s_l)")
    offset = torch.tensor([1.0, 2.0, 8.0, 0.5], dtype=torch.float64).log()
    torch.testing.assert_close(
        replace(dpo(), target_margin=target)(one), -F.logsigmoid(dpo().margin(one) - offset)
    )


def test_a_target_margin_of_the_whole_batch(pairs):
    """α-DPO: γ moves with the z-score of each pair's ratio margin, without gradient."""

    def value(p) -> torch.Tensor:
        h = dpo(beta=1.0).margin(p).detach()
        return 0.6 + 0.1 * (h - h.mean()) / h.std()

    one = replace(pairs(), label=None)
    objective = Objective(mean_log_prob(2.5), LOSSES["logistic"], TargetMargin(value, "γ + α z*"))
    z = simpo(beta=2.5).margin(one)
    torch.testing.assert_close(objective(one), -F.logsigmoid(z - value(one)))


def test_a_score_of_further_columns(pairs):
    """TDPO2 reads the sequential KL, a per-token column."""

    def with_kl(y: Responses) -> Responses:
        return replace(y, columns={"kl": torch.full_like(y.policy, 0.1)})

    def value(p) -> torch.Tensor:
        chosen, rejected = (segment_sum(y.columns["kl"], y.lengths) for y in (p.chosen, p.rejected))
        return 0.1 * 0.5 * (rejected - chosen.detach())

    one = replace(pairs(), label=None)
    one = replace(one, chosen=with_kl(one.chosen), rejected=with_kl(one.rejected))
    got = replace(dpo(), target_margin=TargetMargin(value, "β α (KL_l − sg KL_w)"))(one)
    difference = (one.rejected.length - one.chosen.length) * 0.1
    torch.testing.assert_close(got, -F.logsigmoid(dpo().margin(one) - 0.05 * difference))


def test_a_score_outside_the_affine_class(pairs):
    """f-DPO with the Jensen-Shannon divergence: Ω = β log(2u/(1 + u)), u = π/π_ref."""

    def value(y: Responses, other: Responses) -> torch.Tensor:
        return math.log(2) + F.logsigmoid(y.log_prob - y.reference_log_prob)

    score = Score("f′(π/π_ref)", value, 0.1, needs_reference=True)
    assert score.affine is None
    one = pairs()
    u = (one.chosen.log_prob - one.chosen.reference_log_prob).exp()
    torch.testing.assert_close(score(one.chosen), 0.1 * (2 * u / (1 + u)).log())
    assert Objective(score, LOSSES["logistic"])(one).isfinite().all()


def test_a_label_that_scales_the_margin(pairs):
    """GDPO: −log σ((2p − 1) z)."""

    def cost(phi, z, target_margin, label) -> torch.Tensor:
        return phi((2 * label - 1) * z - target_margin)

    one = pairs()
    geometric = LabelModel(cost, lambda agrees, contradicts: agrees)
    expected = -F.logsigmoid((2 * one.label - 1) * dpo().margin(one))
    torch.testing.assert_close(replace(dpo(), labels=geometric)(one), expected)


def test_a_margin_loss_of_ones_own(pairs):
    """DiscoPOP's blend of the logistic and the exponential, which rises at z = 0."""

    def phi(z: torch.Tensor) -> torch.Tensor:
        m = torch.sigmoid(z / 0.05)
        return (1 - m) * -F.logsigmoid(z) + torch.exp(F.logsigmoid(z / 0.05) - z)

    with pytest.raises(LuceError, match="does not fall at z = 0"):
        MarginLoss(phi, lambda z: f"blend({z})")
    blend = MarginLoss(phi, lambda z: f"blend({z})", convex=False, bayes_consistent=False)
    objective = Objective(log_ratio(0.05), blend)
    one = replace(pairs(), label=None)
    torch.testing.assert_close(objective(one), phi(0.05 * dpo(beta=1.0).margin(one)))


@dataclass(frozen=True)
class PlackettLuce:
    """−Σ_k log softmax over the suffix that starts at the k-th best, of the scores of a list."""

    score: Score
    name: str = "plackett_luce"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    structure: Structure = "list"
    formula: str = "−Σ log softmax"

    @property
    def needs_reference(self) -> bool:
        return self.score.needs_reference

    def __call__(self, batch: Lists) -> PerGroup:
        costs = []
        parts = zip(
            self.score(batch.responses).split(batch.sizes.tolist()),
            batch.scores.split(batch.sizes.tolist()),
            strict=True,
        )
        for omega, grades in parts:
            ranked = omega[grades.argsort(descending=True)]
            suffix = ranked.flip(0).logcumsumexp(0).flip(0)
            costs.append((suffix - ranked).sum())
        return torch.stack(costs)

    def weight(self, batch: Lists) -> PerGroup:
        return torch.ones_like(batch.sizes, dtype=batch.scores.dtype)

    def metrics(self, batch: Lists) -> Mapping[str, PerGroup]:
        return {}

    def statistics(self, batch: Lists) -> Mapping[str, PerGroup]:
        return {}


def test_lists_are_cost_functions_too_and_a_list_of_two_is_a_pair(pairs):
    one = replace(pairs(), label=None)
    objective = PlackettLuce(log_ratio(0.1))
    assert isinstance(objective, CostFunction)
    both = Responses(
        torch.cat([one.chosen.policy, one.rejected.policy]),
        torch.cat([one.chosen.lengths, one.rejected.lengths]),
        torch.cat([one.chosen.reference, one.rejected.reference]),
    )
    interleaved = both.take(torch.tensor([4, 0, 1, 5, 2, 6, 3, 7]))  # the first pair is reversed
    grades = torch.tensor([0.0, 1.0, 1.0, 0.0, 5.0, 4.0, 1.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(
        objective(Lists(interleaved, torch.tensor([2, 2, 2, 2]), grades)), dpo()(one)
    )
