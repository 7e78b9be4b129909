"""What is in no table can be composed of the same parts, and then obeys the same laws."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from law_batches import batch_of, certain, made, make_pairs

from luce.errors import LuceError, RecipeError
from luce.numerics import segment_sum
from luce.objectives import (
    LOSSES,
    Affine,
    LabelModel,
    ListLoss,
    ListObjective,
    MarginLoss,
    Objective,
    Pointwise,
    Regularizer,
    Score,
    TargetMargin,
    WeightedSum,
)
from luce.objectives.needs import column, needs
from luce.objectives.pointwise import Utility
from luce.objectives.presets import dpo, dpop, gdpo, ld_dpo, nca, plackett_luce, slic
from luce.objectives.scores import log_prob, log_ratio, mean_log_prob
from luce.types import CostFunction, Demonstrations, PerGroup, Responses, Scope, Structure


def test_a_score_with_token_weights_that_depend_on_both_responses():
    def value(y: Responses, other: Responses) -> torch.Tensor:
        place = torch.cat([torch.arange(n) for n in y.lengths.tolist()])
        shared = torch.repeat_interleave(torch.minimum(y.lengths, other.lengths), y.lengths)
        weight = torch.where(place < shared, 1.0, 0.3).to(y.policy.dtype)
        return segment_sum(weight * (y.policy - y.reference_tokens), y.lengths)

    mine = Objective(Score("mine", value, 0.1, needs("reference")), LOSSES["logistic"])
    pairs = make_pairs()
    torch.testing.assert_close(mine(pairs), ld_dpo(alpha=0.3)(pairs))
    assert mine.score.affine is None and mine.needs == {"reference"}


def test_an_affine_score_of_ones_own():
    """A length bias c per token, taken out: Ω = log π − c|y|."""
    mine = Score("(log π − 0.2·|y|)", Affine(lambda y: 1.0, lambda y: -0.2 * y.length))
    pairs = make_pairs()
    difference = pairs.chosen.length - pairs.rejected.length
    expected = pairs.chosen.log_prob - pairs.rejected.log_prob - 0.2 * difference
    torch.testing.assert_close(Objective(mine, LOSSES["logistic"]).margin(pairs), expected)


def test_a_target_margin_of_policy_and_reference():
    def penalty(p) -> torch.Tensor:
        return 0.1 * 5 * F.relu(p.chosen.reference_log_prob - p.chosen.log_prob)

    target = TargetMargin(penalty, "penalty", needs("reference"))
    pairs = make_pairs()
    mine = replace(dpo(), target_margin=target)
    torch.testing.assert_close(mine(pairs), dpop(beta=0.1, lam=5.0)(pairs))
    assert replace(made("simpo"), target_margin=target).needs_reference


def test_a_label_model_of_ones_own():
    def cost(phi, z, target, reverse_target, label) -> torch.Tensor:
        return phi((2 * label - 1) * z - target)

    mine = replace(dpo(), labels=LabelModel(cost, lambda agrees, contradicts: agrees))
    torch.testing.assert_close(mine(make_pairs()), gdpo()(make_pairs()))


def test_a_margin_loss_of_ones_own():
    """Smooth, and linear in both tails: ½ (√(1 + (1 − z)²) + 1 − z)."""

    def phi(z: torch.Tensor) -> torch.Tensor:
        return 0.5 * ((1 + (1 - z) ** 2).sqrt() + 1 - z)

    loss = MarginLoss(phi, lambda z: f"smooth hinge of {z}")
    pairs = certain(make_pairs())
    mine = Objective(log_prob(), loss)
    torch.testing.assert_close(mine(pairs), phi(mine.margin(pairs)))
    with pytest.raises(LuceError, match="does not fall at z = 0"):
        MarginLoss(lambda z: phi(-z), lambda z: f"its mirror image at {z}")


def test_a_regularizer_that_reads_a_column():
    def entropy_like(p) -> torch.Tensor:
        return segment_sum(column(p.chosen, "sum_p2"), p.chosen.lengths)

    held = Regularizer(0.5, entropy_like, "Σ Σp²", needs=needs("sum_p2"))
    mine, pairs = replace(slic(lam=0.0), regularizers=(held,)), certain(make_pairs())
    torch.testing.assert_close(mine(pairs), slic(lam=0.0)(pairs) + 0.5 * entropy_like(pairs))
    bare = replace(pairs, chosen=replace(pairs.chosen, columns={}))
    with pytest.raises(LuceError, match="^sum_p2: the batch has no such column. It is Σ_v π"):
        mine(bare)


def test_a_utility_of_ones_own():
    half = Utility(
        lambda x, p: -p * F.logsigmoid(x) - 0.5 * F.logsigmoid(-x), lambda x: x, lambda x: x
    )
    mine = Pointwise(log_ratio(0.01), half, structure="pair")
    torch.testing.assert_close(mine(make_pairs()), nca()(make_pairs()))


def test_a_list_loss_of_ones_own():
    """The best against the rest, which is Plackett and Luce's first factor."""

    def top(m) -> torch.Tensor:
        log_p = m.probabilities(m.omega)[1]
        return -log_p.gather(1, m.grade.argmax(1, keepdim=True)).squeeze(1)

    mine = ListObjective(log_ratio(0.1), ListLoss(top, lambda o: f"−log softmax {o} of the best"))
    pair = batch_of(mine, make_pairs(lengths=((2, 3),)))
    torch.testing.assert_close(mine(pair), plackett_luce()(pair))


@dataclass(frozen=True)
class Entropy:
    """An objective that is none of luce's: mean log π of both responses, pushed down."""

    name: str = "entropy"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    formula: str = "(log π(chosen) + log π(rejected))/2"
    structure: Structure = "pair"
    scope: Scope = "group"
    needs_reference: bool = False
    needs: frozenset[str] = frozenset()
    weights: float = 1.0

    def __call__(self, batch: Any) -> PerGroup:
        return (batch.chosen.log_prob + batch.rejected.log_prob) / 2

    def weight(self, batch: Any) -> PerGroup:
        return self.weights * torch.ones_like(batch.chosen.length)

    def metrics(self, batch: Any) -> Mapping[str, PerGroup]:
        return {"entropy": -self(batch).detach()}

    def statistics(self, batch: Any) -> Mapping[str, PerGroup]:
        return {"seen": self(batch).detach()}


def test_an_objective_of_ones_own_stands_in_a_sum():
    pairs = certain(make_pairs())
    both = WeightedSum(((1.0, dpo()), (0.25, Entropy())), name="both")
    assert isinstance(Entropy(), CostFunction) and isinstance(both, CostFunction)
    torch.testing.assert_close(both(pairs), dpo()(pairs) + 0.25 * Entropy()(pairs))
    torch.testing.assert_close(both.margin(pairs), dpo().margin(pairs))
    found = both.metrics(pairs)
    torch.testing.assert_close(found["loss/dpo"], dpo()(pairs).detach())
    torch.testing.assert_close(found["loss/entropy"], Entropy()(pairs).detach())
    torch.testing.assert_close(found["rewards/margins"], dpo().margin(pairs).detach())
    assert found.keys() > {"entropy", "rewards/chosen"} and both.statistics(pairs).keys() == {
        "seen"
    }
    assert both.needs == {"reference"} and both.scope == "group" and not both.needs_reward
    assert WeightedSum(((1.0, dpo()), (1.0, made("dr_dpo")))).scope == "batch"


def test_a_sum_wants_parts_of_one_structure_that_weigh_groups_alike():
    with pytest.raises(RecipeError, match=r"different rows: dpo \(pair\), sft \(demonstration\)"):
        WeightedSum(((1.0, dpo()), (1.0, made("sft"))), name="odd")
    pairs, heavy = certain(make_pairs()), Entropy(weights=2.0)
    uneven = WeightedSum(((1.0, dpo()), (1.0, heavy)), name="uneven")
    with pytest.raises(RecipeError, match="^objective.uneven: its parts weigh groups differently"):
        uneven.weight(pairs)
    alike = WeightedSum(((1.0, heavy), (1.0, heavy)), name="alike")
    assert alike.weight(pairs).tolist() == [2.0] * len(pairs)
    y = Demonstrations(pairs.chosen)
    assert WeightedSum(((0.5, made("sft")),)).weight(y).tolist() == y.response.lengths.tolist()


def test_the_parts_of_a_composition_are_printed_with_their_numbers():
    mine = Objective(mean_log_prob(2.0), LOSSES["savage"], target_margin=0.5, scale=3.0)
    assert "3·" in mine.formula and "2·" in mine.formula and "0.5" in mine.formula
