"""Mixtures of annotators; their costs and gradients are in `test_presets_batch`."""

from dataclasses import replace

import pytest
import torch
from plain_rows import LOG, ROWS, nls, pairs

from luce.errors import LuceError
from luce.objectives import Mixture, Score, make_objective
from luce.objectives.mixture import annotator
from luce.objectives.scores import log_prob, log_ratio, mean_log_ratio


def test_annotators_weigh_alike_unless_it_is_told():
    batch = pairs(ROWS)
    assert Mixture(log_prob()).weights == (0.5, 0.5) and Mixture(log_prob()).name == "mixture"
    halves = Mixture(log_prob(), (0.5, 0.5))
    torch.testing.assert_close(Mixture(log_prob())(batch), halves(batch))
    expected = torch.full((2,), LOG(0.5), dtype=torch.float64)
    torch.testing.assert_close(halves.log_weights(batch), expected, rtol=0, atol=0)


def test_one_annotator_needs_no_further_policy():
    alone = Mixture(log_ratio(0.5), (1.0,))
    assert alone.needs == {"reference"} and alone.needs_reference and not alone.needs_reward
    assert Mixture(log_prob(), (0.5, 0.5)).needs == {"annotators"}
    assert not Mixture(log_prob(), (0.5, 0.5)).needs_reference
    assert Mixture(mean_log_ratio(), (0.5, 0.5)).needs == {"annotators", "reference"}
    assert alone.structure == "pair" and alone.scope == "group"
    for batch in (pairs(ROWS), replace(pairs(ROWS), label=None)):
        assert alone(batch).tolist() == pytest.approx([nls(0.5 * y.h) for y in ROWS])


def test_the_formula_numbers_annotators_from_one():
    found = Mixture(log_prob(2.0), (0.25, 0.75)).formula
    assert found == (
        "−log[0.25·σ(2·[log π_1(chosen) − log π_1(rejected)]) "
        "+ 0.75·σ(2·[log π_2(chosen) − log π_2(rejected)])]"
    )


def test_annotators_with_heads_of_a_reward_model():
    made = make_objective("mixture", {"of": "reward", "weights": (1, 3)})
    assert made.needs == {"reward", "heads"}
    assert made.formula == (
        "−log[0.25·σ(r_1(chosen) − r_1(rejected)) + 0.75·σ(r_2(chosen) − r_2(rejected))]"
    )
    of_heads = torch.tensor([[1.0, -1.0], [0.5, 2.0]])
    batch = pairs(ROWS[:2])
    chosen = replace(batch.chosen, rewards=of_heads, reward=of_heads[:, 0])
    rejected = replace(batch.rejected, rewards=0 * of_heads, reward=0 * of_heads[:, 0])
    found = made(replace(batch, chosen=chosen, rejected=rejected, label=None))
    p = of_heads.sigmoid() @ torch.tensor([0.25, 0.75])
    assert found.tolist() == pytest.approx((-p.log()).tolist(), rel=1e-6)
    with pytest.raises(
        LuceError, match=r"^rewards: the batch has none. This objective needs a rew"
    ):
        made(replace(batch, label=None))
    taken = chosen.take(torch.tensor([1]))
    assert taken.rewards is not None and taken.rewards.tolist() == [[0.5, 2.0]]


def test_an_annotator_s_policy_is_a_column():
    y = pairs(ROWS).chosen
    assert annotator(y, 1) is y
    assert annotator(y, 2).policy is y.columns["policy_2"]
    with pytest.raises(LuceError, match=r"^policy_3: the batch has no such column. It is log π of"):
        annotator(y, 3)


def test_a_score_sees_both_responses_under_one_policy():
    score = Score("Ω", lambda y, other: y.log_prob * other.length)
    batch = pairs(ROWS)
    z = Mixture(score, (0.5, 0.5)).margins(batch)
    for k, name in enumerate(("p", "policy_2")):
        by_hand = [sum(getattr(y.w, name)) * y.l.n - sum(getattr(y.l, name)) * y.w.n for y in ROWS]
        assert z[:, k].tolist() == pytest.approx(by_hand)
    bare = {side: replace(getattr(batch, side), reward=None) for side in ("chosen", "rejected")}
    got = Mixture(score, (0.5, 0.5)).metrics(replace(batch, **bare))
    assert got["rewards/chosen"].tolist() == pytest.approx([y.w.l * y.l.n for y in ROWS])
    assert got["rewards/rejected"].tolist() == pytest.approx([y.l.l * y.w.n for y in ROWS])


@pytest.mark.parametrize("role", ["chosen", "rejected"])
def test_a_response_without_tokens_is_an_error(role, responses):
    batch = replace(pairs(ROWS), **{role: responses([[-1.0], [], [-2.0]])})
    with pytest.raises(LuceError, match=f"^{role}: response 1 of the batch has no scored token"):
        Mixture(log_prob(), (1.0,))(batch)


@pytest.mark.parametrize("logits", [1, 3])
def test_a_prior_has_a_logit_for_each_annotator(logits):
    batch = replace(pairs(ROWS), prior=torch.zeros(logits, dtype=torch.float64))
    with pytest.raises(LuceError, match=rf"^prior: {logits} logits for 2 annotators\."):
        Mixture(log_prob())(batch)


def test_a_label_that_is_no_probability_is_an_error():
    batch = replace(pairs(ROWS), label=torch.tensor([1.0, 1.5, 1.0], dtype=torch.float64))
    with pytest.raises(LuceError, match=r"^label: 1\.5 in pair 1"):
        Mixture(log_prob())(batch)


def test_shares_that_are_tiny_leave_numbers():
    """Weights whose logarithm is −690, margins of thousands."""
    batch = pairs(ROWS)
    costs = Mixture(log_prob(2000.0), (1e-300, 1.0))(batch)
    (slope,) = torch.autograd.grad(costs.sum(), batch.chosen.policy)
    assert costs.isfinite().all() and slope.isfinite().all()


def test_expectation_maximization_takes_the_mean_responsibility_for_the_weight():
    made, batch = make_objective("mixture", {"fit": "em", "weights": (1, 3)}), pairs(ROWS)
    given = make_objective("mixture", {"weights": (1, 3)})
    torch.testing.assert_close(made(batch), given(batch))
    shares = made.statistics(batch)
    assert list(shares) == ["annotators/1", "annotators/2"] and not given.statistics(batch)
    means = {name: float(share.mean()) for name, share in shares.items()}
    assert sum(means.values()) == pytest.approx(1)
    later = replace(batch, running=means, prior=torch.zeros(2, dtype=torch.float64))
    moved = Mixture(log_prob(), tuple(means.values()))
    torch.testing.assert_close(made(later), moved(batch))
    assert made.em_weights(means) == pytest.approx(list(means.values()))
    # somebody to whom nothing is ascribed can come back
    alone = made.em_weights({"annotators/1": 0.0, "annotators/2": 1.0})
    assert 0 < alone[0] < 1e-5 and sum(alone) == pytest.approx(1)


def test_one_step_of_expectation_maximization_never_lowers_the_likelihood():
    """With the policies held, the weights' own step (Dempster et al., 1977)."""
    made, batch = make_objective("mixture", {"fit": "em"}), pairs(ROWS)
    batch, costs = replace(batch, label=None), []
    for _ in range(6):
        costs.append(made(batch).sum().item())
        shares = made.statistics(batch)
        batch = replace(batch, running={name: float(x.mean()) for name, x in shares.items()})
    assert costs == sorted(costs, reverse=True) and costs[0] - costs[-1] > 1e-6


def test_annotators_whose_policies_are_measured_against_a_reference():
    made = make_objective("mixture", {"of": "ratio", "beta": 0.5})
    assert made.needs == {"annotators", "reference"}
    expected = Mixture(log_ratio(0.5), (0.5, 0.5))
    torch.testing.assert_close(made(pairs(ROWS)), expected(pairs(ROWS)))


def test_an_annotator_without_pairs_keeps_a_weight_of_a_millionth():
    made = make_objective("mixture", {"fit": "em"})
    first, second = made.em_weights({"annotators/1": 0.0, "annotators/2": 1.0})
    assert first == pytest.approx(1e-6 / (1 + 1e-6), rel=1e-9) and first + second == 1


def test_weights_by_expectation_maximization_need_no_reference():
    made, batch = make_objective("mixture", {"fit": "em"}), pairs(ROWS)
    sides = {side: replace(getattr(batch, side), reference=None) for side in ("chosen", "rejected")}
    torch.testing.assert_close(made(replace(batch, **sides)), made(batch))
