"""Utilities, baselines, and what becomes of them on single responses and on pairs."""

import math
from dataclasses import replace

import pytest
import torch
from plain_rows import ROWS, makers, nls, pairs, sigma, tensors

from luce.errors import LuceError
from luce.objectives import Pointwise, Score, pointwise
from luce.objectives.pointwise import Baseline, Utility
from luce.objectives.presets import apo_zero, bco, kto, nca, sft, sppo
from luce.objectives.scores import log_prob, log_ratio, reward
from luce.types import Demonstrations, Responses, Unpaired

# U(x, p); what a good and a bad response are printed as
UTILITIES = {
    "prospect": (
        pointwise.prospect(1.5, 0.5),
        lambda x, p: p * 1.5 * (1 - sigma(x)) + (1 - p) * 0.5 * (1 - sigma(-x)),
        ("1.5·[1 − σ(x)]", "0.5·[1 − σ(−x)]"),
    ),
    "classifier": (
        pointwise.classifier(),
        lambda x, p: p * nls(x) + (1 - p) * nls(-x),
        ("−log σ(x)", "−log σ(−x)"),
    ),
    "noise_contrast": (
        pointwise.noise_contrast(0.25),
        lambda x, p: p * nls(x) + 0.25 * nls(-x),
        ("−log σ(x) − 0.25·log σ(−x)", "−0.25·log σ(−x)"),
    ),
    "regression": (
        pointwise.regression(3.0),
        lambda x, p: 0.5 * (x - (3 * p - 3 * (1 - p))) ** 2,
        ("½·(x − 3)²", "½·(x + 3)²"),
    ),
    "imitation": (pointwise.imitation(), lambda x, p: -p * x, ("−x", "0")),
    "only_good": (pointwise.only_good(), lambda x, p: p * sigma(x), ("σ(x)", "0")),
}
RUNNING = {"kl": 0.6, "rewards/good": 0.4, "rewards/bad": -1.0}

# z₀ of a score with scale 2; what is printed
BASELINES = {
    "no_baseline": (pointwise.no_baseline(), 0.0, ""),
    "kl_baseline": (pointwise.kl_baseline(), 2 * 0.6, "2·max(0, KL)"),
    "shift_baseline": (pointwise.shift_baseline(), -0.3, "δ"),
}


def test_every_utility_and_baseline_has_a_worked_number():
    assert makers(pointwise, Utility) == UTILITIES.keys()
    assert makers(pointwise, Baseline) == BASELINES.keys()


@pytest.mark.parametrize("name", UTILITIES)
def test_utilities(name):
    utility, by_hand, printed = UTILITIES[name]
    at = [(x, p) for x in (-2.0, -0.3, 0.0, 1.7) for p in (0.0, 0.3, 1.0)]
    x, p = torch.tensor(at, dtype=torch.float64).unbind(1)
    x = x.clone().requires_grad_()
    values = utility.value(x, p)
    assert values.tolist() == pytest.approx([by_hand(*point) for point in at])
    (slope,) = torch.autograd.grad(values.sum(), x)
    differences = [(by_hand(a + 1e-6, b) - by_hand(a - 1e-6, b)) / 2e-6 for a, b in at]
    assert slope.tolist() == pytest.approx(differences, abs=1e-8)
    assert (utility.good("x"), utility.bad("x")) == printed


def test_defaults_of_utilities():
    x, p = torch.tensor([0.7]), torch.tensor([0.25])
    for name, explicit in (("prospect", (1.0, 1.0)), ("noise_contrast", (0.5,))):
        make = getattr(pointwise, name)
        assert make().value(x, p) == make(*explicit).value(x, p)
    assert pointwise.prospect().good("x") == "1 − σ(x)"
    assert pointwise.prospect().bad("a − b") == "1 − σ(b − a)"


@pytest.mark.parametrize("name", BASELINES)
def test_baselines(name):
    baseline, z0, printed = BASELINES[name]
    assert baseline.value(2.0, RUNNING) == pytest.approx(z0)
    assert baseline.value(2.0, {}) == 0.0
    assert baseline.formula("2") == printed and baseline.needs == frozenset()


def test_the_shift_is_the_mean_of_whatever_there_is():
    value = pointwise.shift_baseline().value
    assert value(2.0, {"rewards/good": 0.4}) == 0.4
    assert value(2.0, {"rewards/bad": -1.0, "rewards/else": 9.0}) == -1.0


# --- single responses -----------------------------------------------------------------------------


@pytest.fixture
def batch() -> Unpaired:
    """log π/π_ref: −2 desirable, −1.5 undesirable, 1.9 judged by halves; mismatched 0.1, 2.1 and
    −1.25."""
    return Unpaired(
        tensors([ROWS[0].w, ROWS[0].l, ROWS[1].w]),
        torch.tensor([1.0, 0.0, 0.5], dtype=torch.float64),
        tensors([ROWS[2].w, ROWS[2].l, ROWS[1].l]),
    )


@pytest.mark.parametrize("name", UTILITIES)
def test_a_response_costs_the_utility_of_its_score_above_the_baseline(name, batch):
    utility, by_hand, _ = UTILITIES[name]
    for baseline, z0, _ in BASELINES.values():
        objective = Pointwise(log_ratio(2.0), utility, baseline)
        costs = objective(replace(batch, running=RUNNING)).tolist()
        expected = [by_hand(2 * a - z0, p) for a, p in ((-2, 1.0), (-1.5, 0.0), (1.9, 0.5))]
        assert costs == pytest.approx(expected)


@pytest.mark.parametrize("name", UTILITIES)
def test_a_pair_costs_both_of_its_responses(name):
    utility, by_hand, _ = UTILITIES[name]
    rows = [replace(row, label=p) for row, p in zip(ROWS, (1.0, 0.3, 0.0), strict=True)]
    for baseline, z0, _ in BASELINES.values():
        objective = Pointwise(log_ratio(2.0), utility, baseline, structure="pair")
        expected = [
            by_hand(2 * y.w.a - z0, y.label) + by_hand(2 * y.l.a - z0, 1 - y.label) for y in rows
        ]
        assert objective(pairs(rows, RUNNING)).tolist() == pytest.approx(expected)
        certain = replace(pairs(ROWS, RUNNING), label=None)
        expected = [by_hand(2 * y.w.a - z0, 1) + by_hand(2 * y.l.a - z0, 0) for y in ROWS]
        assert objective(certain).tolist() == pytest.approx(expected)


def test_a_score_of_pairs_sees_both_responses():
    score = Score("Ω", lambda y, other: y.log_prob + y.length * other.length)
    objective = Pointwise(score, pointwise.imitation(), structure="pair")
    batch = replace_rewards(pairs(ROWS))
    chosen = [y.w.l + y.w.n * y.l.n for y in ROWS]
    rejected = [y.l.l + y.w.n * y.l.n for y in ROWS]
    assert objective(batch).tolist() == pytest.approx([-x for x in chosen])
    assert objective.metrics(batch)["rewards/rejected"].tolist() == pytest.approx(rejected)


def test_kl_statistics_are_the_log_ratios_of_mismatched_responses(batch):
    kl = kto(beta=3.0).statistics(batch)["kl"]
    assert kl.tolist() == pytest.approx([0.1, 2.1, -1.25])
    assert not kl.requires_grad
    assert kto().statistics(Unpaired(batch.response, batch.desirable)) == {}
    assert nca().statistics(pairs(ROWS)) == {}


def test_shift_statistics_are_the_rewards_of_each_side(batch):
    found = bco(beta=2.0).statistics(batch)
    good, bad = found["rewards/good"].tolist(), found["rewards/bad"].tolist()
    assert good[0] == pytest.approx(-4.0) and good[2] == pytest.approx(3.8)
    assert bad[1] == pytest.approx(-3.0)
    assert math.isnan(good[1]) and math.isnan(bad[0]) and math.isnan(bad[2])
    assert not found["rewards/good"].requires_grad


def test_shift_statistics_of_pairs_follow_the_label():
    on_pairs = Pointwise(
        log_ratio(2.0), pointwise.classifier(), pointwise.shift_baseline(), structure="pair"
    )
    batch = pairs([replace(row, label=p) for row, p in zip(ROWS, (1.0, 0.2, 0.5), strict=True)])
    found = on_pairs.statistics(batch)
    # a label of one half: both responses would be good ones; the chosen is taken for one
    assert found["rewards/good"].tolist() == pytest.approx([-4.0, -2.5, 0.2])
    assert found["rewards/bad"].tolist() == pytest.approx([-3.0, 3.8, 4.2])
    certain = on_pairs.statistics(replace(batch, label=None))
    assert certain["rewards/good"].tolist() == pytest.approx([-4.0, 3.8, 0.2])
    assert on_pairs.metrics(replace_rewards(batch)).keys().isdisjoint(found)


def replace_rewards(batch):
    """The same without a reward model's rewards."""
    names = [n for n in ("chosen", "rejected", "response") if hasattr(batch, n)]
    return replace(batch, **{n: replace(getattr(batch, n), reward=None) for n in names})


@pytest.mark.parametrize("keep", [1, 2])
def test_mismatched_responses_are_one_for_each_row(batch, keep):
    fewer = batch.mismatched.take(torch.arange(keep))
    with pytest.raises(LuceError, match=rf"^mismatched: {keep} responses for 3 rows\. Give every"):
        kto().statistics(replace(batch, mismatched=fewer))


def test_responses_without_tokens_are_named(batch, responses):
    empty = responses([[-1.0], [], [-1.0]], [[-1.0], [], [-1.0]])
    for call in (kto(), kto().margin):
        with pytest.raises(LuceError, match="^completion: response 1 of the batch has no scored"):
            call(replace(batch, response=empty))
    with pytest.raises(LuceError, match="^mismatched: response 1 of the batch has no scored"):
        kto().statistics(replace(batch, mismatched=empty))
    on_pairs = pairs(ROWS)
    for role in ("chosen", "rejected"):
        for call in (nca(), nca().margin, nca().metrics):
            with pytest.raises(LuceError, match=f"^{role}: response 1 of the batch has no scored"):
                call(replace(on_pairs, **{role: empty}))


def test_a_label_that_is_no_probability_is_an_error(batch):
    for call in (kto(), kto().margin):
        with pytest.raises(LuceError, match="^label: 2 in pair 0 of the batch is no probability"):
            call(replace(batch, desirable=batch.desirable + 1))
    bad = replace(pairs(ROWS), label=torch.tensor([0.0, 1.0, -0.5], dtype=torch.float64))
    with pytest.raises(LuceError, match=r"^label: -0.5 in pair 2"):
        sppo()(bad)


def test_metrics_belong_to_the_side_of_the_response(batch):
    got = dict(kto(beta=2.0).metrics(replace_rewards(batch)))
    nan = math.nan
    for name, expected in {
        "rewards/chosen": [-4.0, nan, 3.8],
        "rewards/rejected": [nan, -3.0, nan],
        "logps/chosen": [-4.0, nan, -0.7],
        "logps/rejected": [nan, -4.5, nan],
        "logps_per_token/chosen": [-2.0, nan, -0.7 / 3],
        "logps_per_token/rejected": [nan, -1.5, nan],
        "length/chosen": [2.0, nan, 3.0],
        "length/rejected": [nan, 3.0, nan],
        "kl": [0.1, 2.1, -1.25],
    }.items():
        assert got.pop(name).tolist() == pytest.approx(expected, nan_ok=True), name
    assert not got
    assert bco().metrics(replace_rewards(batch)).keys() == {
        f"{what}/{role}"
        for what in ("rewards", "logps", "logps_per_token", "length")
        for role in ("chosen", "rejected")
    }


def test_metrics_of_pairs_judged_one_by_one():
    got = nca(beta=2.0).metrics(replace_rewards(pairs(ROWS)))
    assert got["rewards/chosen"].tolist() == pytest.approx([2 * y.w.a for y in ROWS])
    assert got["rewards/rejected"].tolist() == pytest.approx([2 * y.l.a for y in ROWS])
    assert got["rewards/margins"].tolist() == pytest.approx([2 * y.h for y in ROWS])
    assert got["rewards/accuracies"].tolist() == [0.0, 1.0, 0.0]


def test_margins(batch):
    """How far each response is on its right side of the baseline; judged by halves is desirable."""
    found = kto(beta=2.0).margin(replace(batch, running=RUNNING))
    assert found.tolist() == pytest.approx([-4 - 1.2, 3 + 1.2, 3.8 - 1.2])
    assert nca(beta=2.0).margin(pairs(ROWS)).tolist() == pytest.approx([2 * y.h for y in ROWS])


def test_weights_are_one(batch):
    assert kto().weight(batch).tolist() == [1.0] * 3
    assert nca().weight(pairs(ROWS)).tolist() == [1.0] * 3


def test_what_it_needs():
    assert kto().needs == {"reference"} and kto().needs_reference and not kto().needs_reward
    graded = Pointwise(reward())
    assert graded.needs_reward and not graded.needs_reference and graded.scope == "group"
    assert not Pointwise(log_prob()).needs
    learnt = replace(pointwise.no_baseline(), needs=frozenset({"kl"}))
    assert Pointwise(log_prob(), baseline=learnt).needs == {"kl"}


A = "log π/π_ref"
FORMULAS = {
    f"desirable: 1.5·[1 − σ(0.2·{A}(y) − z₀)]; undesirable: 1 − σ(z₀ − 0.2·{A}(y)); "
    "z₀ = 0.2·max(0, KL)": kto(beta=0.2, lam_d=1.5),
    f"desirable: −log σ(0.2·{A}(y) − z₀); undesirable: −log σ(z₀ − 0.2·{A}(y)); z₀ = δ": bco(0.2),
    f"1 − σ(0.2·{A}(chosen)) + 1 − σ(−0.2·{A}(rejected))": apo_zero(0.2),
    f"½·({A}(chosen) − 2.5)² + ½·({A}(rejected) + 2.5)²": sppo(0.2),
    f"σ({A}(chosen))": Pointwise(log_ratio(1.0), pointwise.only_good(), structure="pair"),
    f"desirable: 1 − σ({A}(y)); undesirable: 1 − σ(−{A}(y))": Pointwise(log_ratio(1.0)),
}


@pytest.mark.parametrize("formula", FORMULAS)
def test_the_formula_prints_the_numbers_that_run(formula):
    assert FORMULAS[formula].formula == formula


# --- demonstrations -------------------------------------------------------------------------------


def test_likelihood_metrics(responses):
    batch = Demonstrations(responses([[-1.0, -3.0]]))
    got = {name: value.item() for name, value in sft().metrics(batch).items()}
    assert got == {"nll": 2.0, "mean_token_log_prob": -2.0, "length": 2.0}
    assert sft().statistics(batch) == {}
    assert not sft().needs and not sft().needs_reference and not sft().needs_reward
    assert sft().scope == "group"


def test_likelihood_of_a_response_without_tokens_is_an_error(responses):
    with pytest.raises(LuceError, match="^completion: response 0"):
        sft()(Demonstrations(responses([[], [-1.0]])))


def test_a_reward_model_has_no_log_probabilities():
    graded = Responses(
        torch.zeros(0), torch.tensor([4, 2]), reward=torch.tensor([1.0, 0.5], requires_grad=True)
    )
    on_rewards = Pointwise(reward(), pointwise.classifier())
    batch = Unpaired(graded, torch.tensor([1.0, 0.0]))
    assert on_rewards(batch).tolist() == pytest.approx([nls(1.0), nls(-0.5)])
    assert on_rewards.metrics(batch).keys() == {
        f"{what}/{role}" for what in ("rewards", "length") for role in ("chosen", "rejected")
    }
