"""Rows of one structure under an objective of another, lists, running means, further columns."""

import json
import math
from pathlib import Path

import pytest

from luce.errors import DataError, LuceError
from luce.objectives import OBJECTIVES
from luce.recipe.cost import run_cost


def write(folder: Path, *rows: dict) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def y(*policy: float, **columns) -> dict:
    """A response whose reference is −1 a token."""
    return {"policy": list(policy), "reference": [-1.0] * len(policy), **columns}


def sigma(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def softplus(z: float) -> float:
    return math.log(1 + math.exp(z))


# --- lists -------------------------------------------------------------------------------------

RATIOS = (2.0, -1.0, 0.5)
LIST = {
    "id": "l",
    "responses": [y(0, 0), y(-2), y(-0.5, 0 - 1.0)],  # log-ratios 2, −1, 0.5
    "scores": [3, 1, 2],
}


def test_a_list_costs_what_the_formula_says_and_has_a_gradient_for_each_response(tmp_path):
    (got,) = run_cost(write(tmp_path, LIST), "plackett_luce", {"beta": 1.0}, grad=True)
    best = math.log(sum(math.exp(r) for r in RATIOS)) - 2
    second = math.log(math.exp(-1) + math.exp(0.5)) - 0.5
    assert got["cost"] == pytest.approx(best + second)
    assert got["margin"] is None
    first = math.exp(2) / sum(math.exp(r) for r in RATIOS) - 1
    gradient = got["grad"]["responses"]
    assert [len(part) for part in gradient] == [2, 1, 2]
    assert gradient[0] == pytest.approx([first, first])


def test_lists_of_different_lengths_stand_in_one_file(tmp_path):
    short = {"responses": LIST["responses"][:2], "scores": [1, 0]}
    both = run_cost(write(tmp_path, LIST, short), "infonca", {}, grad=True)
    (alone,) = run_cost(write(tmp_path, short), "infonca", {}, grad=True)
    assert both[1]["cost"] == pytest.approx(alone["cost"])
    assert len(both[1]["grad"]["responses"]) == 2


PAIR = {"chosen": y(-0.5), "rejected": y(-2.0, -1.0)}  # log-ratios ½ and −1


@pytest.mark.parametrize(
    ("given", "grades"),
    [
        ({"score_chosen": 5, "score_rejected": 2}, (5, 2)),
        ({"label": 0.75}, (0.75, 0.25)),
        ({}, (1, 0)),
    ],
)
def test_a_pair_is_a_list_of_two_graded_by_its_scores_or_its_label(given, grades, tmp_path):
    (pair,) = run_cost(write(tmp_path, PAIR | given), "infonca", {"alpha": 1.0}, grad=True)
    row = {"responses": [PAIR["chosen"], PAIR["rejected"]], "scores": list(grades)}
    (whole,) = run_cost(write(tmp_path, row), "infonca", {"alpha": 1.0}, grad=True)
    assert pair["cost"] == whole["cost"]
    assert [pair["grad"]["chosen"], pair["grad"]["rejected"]] == whole["grad"]["responses"]


# --- pairs under objectives of single responses --------------------------------------------------


@pytest.mark.parametrize("p", [1.0, 0.0, 0.7])
def test_a_pair_under_kto_is_its_two_responses_with_probabilities_p_and_1_minus_p(p, tmp_path):
    path = write(tmp_path, PAIR | {"label": p})
    (got,) = run_cost(path, "kto", {"beta": 1.0, "lam_u": 2.0}, grad=True, running={"kl": 0.25})
    chosen, rejected = 0.5 - 0.25, -1 - 0.25

    def judged(x: float, good: float) -> float:
        return good * sigma(-x) + (1 - good) * 2 * sigma(x)

    assert got["cost"] == pytest.approx(judged(chosen, p) + judged(rejected, 1 - p))
    assert got["margin"] == pytest.approx(1.5)
    assert got["baseline"] == 0.25 and "weight" not in got
    slope = sigma(rejected) * sigma(-rejected)
    expected = slope * (2 * p - (1 - p))
    assert got["grad"]["rejected"] == pytest.approx([expected] * 2)


def test_the_kl_of_pairs_is_that_of_their_mismatched_responses(tmp_path):
    other = {"mismatched": y(-0.25)}
    got = run_cost(write(tmp_path, PAIR | other, PAIR | other), "kto", {"beta": 2.0}, grad=True)
    assert [row["baseline"] for row in got] == [pytest.approx(1.5)] * 2
    assert set(got[0]["grad"]) == {"chosen", "rejected"}
    assert got[0]["cost"] == pytest.approx(sigma(-(1 - 1.5)) + sigma(-2 - 1.5))


def test_bco_takes_its_shift_from_the_rows_or_as_given(tmp_path):
    rows = [
        {"completion": y(-0.5), "label": True},
        {"completion": y(-4.0), "label": True},
        {"completion": y(-2.0), "label": False},
    ]
    path = write(tmp_path, *rows)
    good, bad = (0.5 - 3) / 2, -1.0
    got = run_cost(path, "bco", {"beta": 1.0})
    shift = (good + bad) / 2
    assert [row["baseline"] for row in got] == [pytest.approx(shift)] * 3
    assert got[0]["cost"] == pytest.approx(softplus(shift - 0.5))
    assert got[2]["cost"] == pytest.approx(softplus(-1 - shift))
    (given, *_) = run_cost(path, "bco", {"beta": 1.0}, running={"rewards/good": 3.0})
    assert given["baseline"] == pytest.approx((3 + bad) / 2)


def test_a_pair_whose_label_is_a_half_counts_its_chosen_response_as_the_good_one(tmp_path):
    certain = {"chosen": y(-0.25), "rejected": y(-4.0)}  # log-ratios ¾ and −3
    got = run_cost(write(tmp_path, PAIR | {"label": 0.5}, certain), "bco", {"beta": 1.0})
    good, bad = (0.5 + 0.75) / 2, (-1 - 3) / 2
    assert got[0]["baseline"] == pytest.approx((good + bad) / 2)


def test_mpo_shows_the_baseline_of_its_quality_term(tmp_path):
    (got,) = run_cost(write(tmp_path, PAIR), "mpo", {"beta": 1.0, "weights": [0, 1, 0]})
    assert got["baseline"] == pytest.approx(-0.25)
    assert got["cost"] == pytest.approx(softplus(-0.75) + softplus(-0.75))


@pytest.mark.parametrize(
    ("name", "running", "message"),
    [
        ("kto", {"kll": 0.3}, "running: kto has no running 'kll'. Did you mean 'kl'?"),
        ("dpo", {"kl": 0.3}, "running: dpo has no running 'kl'. It has none."),
        ("kto", {"kl": "x"}, "running: kl: 'x' is not a finite number."),
        ("rrhf", {"kl": 1}, "running: rrhf has no running 'kl'. It has none."),
    ],
)
def test_an_unknown_running_mean_is_an_error(name, running, message, tmp_path):
    with pytest.raises(LuceError) as caught:
        run_cost(write(tmp_path, PAIR), name, {}, running=running)
    assert str(caught.value) == message


# --- further columns -----------------------------------------------------------------------------


def test_a_mixture_has_a_gradient_for_every_policy(tmp_path):
    row = {"chosen": y(-1.0, policy_2=[-0.5]), "rejected": y(-2.0, policy_2=[-0.25])}
    settings = {"weights": [0.4, 0.6]}
    (got,) = run_cost(write(tmp_path, row), "mixture", settings, grad=True)
    likelihood = 0.4 * sigma(1) + 0.6 * sigma(-0.25)
    assert got["cost"] == pytest.approx(-math.log(likelihood))
    slope = 0.6 * sigma(-0.25) * sigma(0.25) / likelihood
    assert got["grad"]["chosen"].keys() == {"policy", "policy_2"}
    assert got["grad"]["chosen"]["policy_2"] == pytest.approx([-slope])
    with pytest.raises(DataError, match=r"chosen.policy_3: missing; mixture compares 3 policies"):
        run_cost(write(tmp_path, row), "mixture", {"K": 3})


def test_tdpo_has_a_gradient_for_the_divergence(tmp_path):
    row = {"chosen": y(-1.0, kl=[0.5]), "rejected": y(-2.0, kl=[0.25])}
    (got,) = run_cost(write(tmp_path, row), "tdpo2", {"beta": 1.0, "alpha": 0.5}, grad=True)
    z = 1 - 0.5 * (0.25 - 0.5)
    assert got["cost"] == pytest.approx(softplus(-z))
    assert got["grad"]["rejected"]["kl"] == pytest.approx([0.5 * sigma(-z)])
    assert got["grad"]["chosen"]["kl"] == [0.0]  # held there
    (one,) = run_cost(write(tmp_path, row), "tdpo1", {"beta": 1.0}, grad=True)
    assert one["grad"]["chosen"]["kl"] == pytest.approx([-sigma(-1.25)])


def test_a_draw_depends_on_the_id_of_the_row_alone(tmp_path):
    row = {"chosen": y(-1, -2, -4, -8, -16), "rejected": y(-1.0)}
    costs = {
        name: run_cost(write(tmp_path, row | {"id": name}), "sampo", {})[0]["cost"]
        for name in "abcdefgh"
    }
    assert len(set(costs.values())) > 2
    other = write(tmp_path, row | {"id": "z"}, row | {"id": "a"})
    assert run_cost(other, "sampo", {})[1]["cost"] == costs["a"]


def test_a_cost_of_the_whole_batch_takes_the_file_for_the_batch(tmp_path):
    rows = [PAIR, {"chosen": y(-3.0), "rejected": y(-0.5)}]
    alone = [run_cost(write(tmp_path, row), "dr_dpo", {"beta": 1.0})[0]["cost"] for row in rows]
    together = run_cost(write(tmp_path, *rows), "dr_dpo", {"beta": 1.0}, grad=True)
    pooled = -math.log(sum(math.exp(-c) for c in alone) / 2)
    assert [row["cost"] for row in together] == [pytest.approx(pooled)] * 2
    # the gradient is that of the sum of both costs
    share = math.exp(-alone[0]) / sum(math.exp(-c) for c in alone)
    assert together[0]["grad"]["chosen"] == pytest.approx([-2 * share * sigma(-1.5)])


def test_a_demonstration_says_what_it_weighs(tmp_path):
    (got,) = run_cost(write(tmp_path, {"completion": y(-1, -2, -3)}), "sft", {})
    assert got == {"id": got["id"], "cost": 2.0, "margin": None, "weight": 3.0}
    (got,) = run_cost(write(tmp_path, {"chosen": y(-1, -2, -3)}), "nll", {})
    assert got["cost"] == 6.0 and "weight" not in got


# --- what is missing -----------------------------------------------------------------------------

MISSING = {
    "tdpo1": "chosen.kl: missing; tdpo1 reads KL(π_ref ‖ π) at each token. List it.",
    "wpo": "chosen.sum_p2: missing; wpo reads Σ_v π(v)² at each token. List it.",
    "inpo": "chosen.history: missing; inpo reads log π_t of each token under an earlier iterate.",
    "mixture": "chosen.policy_2: missing; mixture compares 2 policies.",
    "odpo": "no score_chosen and score_rejected, but 'odpo' reads a grade of each response.",
    "xpo": "no reference_sample, but 'xpo' asks which of chosen and rejected was sampled",
    "bradley_terry": "chosen.reward: missing; bradley_terry grades rewards.",
}


@pytest.mark.parametrize("name", MISSING)
def test_an_input_that_is_missing_is_named_with_the_row(name, tmp_path):
    path = write(tmp_path, PAIR)
    with pytest.raises(DataError) as caught:
        run_cost(path, name, {})
    assert str(caught.value).startswith(f"{path}:1: {MISSING[name]}")


BAD = {
    "scores: expected 3 numbers, one for each response, got [1].": LIST | {"scores": [1]},
    "no `scores`. A row of plackett_luce grades every response.": LIST | {"scores": None},
    "responses: not a list of two or more responses.": LIST | {"responses": [y(-1)]},
    "responses[1].policy: a response of length 0.": LIST | {"responses": [y(-1), y(), y(-1)]},
    "scores[0]: 'a' is not a finite number.": LIST | {"scores": ["a", 1, 2]},
    "no `responses`. A row of plackett_luce has `responses` and `scores`": {"completion": y(-1)},
    "no `rejected`. A row of plackett_luce has `chosen` and `rejected`.": {"chosen": y(-1)},
    "no field 'respones'. Did you mean 'responses'?": {"respones": []},
}


@pytest.mark.parametrize("message", BAD)
def test_a_bad_list_is_named(message, tmp_path):
    path = write(tmp_path, LIST, BAD[message])
    with pytest.raises(DataError) as caught:
        run_cost(path, "plackett_luce", {})
    assert str(caught.value).startswith(f"{path}:2: {message}")


def test_lists_under_other_objectives_are_errors_that_say_what_to_do(tmp_path):
    path = write(tmp_path, LIST)
    for name, remedy in {
        "dpo": "pairs: give `chosen` and `rejected`, or take an objective for lists",
        "kto": "single responses: give `completion` and `label`, or take an objective for lists",
    }.items():
        with pytest.raises(DataError, match=f":1: a list of responses, but {name} takes {remedy}"):
            run_cost(path, name, {})
    with pytest.raises(DataError, match="no `completion`. A row of sft has `completion`."):
        run_cost(path, "sft", {})


def test_a_row_that_the_objective_cannot_take_is_named(tmp_path):
    graded = PAIR | {"score_chosen": 1, "score_rejected": 0}
    path = write(tmp_path, graded, graded | {"score_rejected": 1})
    with pytest.raises(LuceError) as caught:
        run_cost(path, "odpo", {})
    assert str(caught.value).startswith(f"{path}:2: ")
    assert "score_rejected" in str(caught.value)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_response_of_length_0_is_an_error_that_names_the_row(name, tmp_path):
    objective = OBJECTIVES[name]()
    if "reward" in objective.needs:
        return
    row = {"chosen": y(-1.0), "rejected": y(), "completion": y(), "label": True}
    row |= {"responses": [y(-1.0), y()], "scores": [1, 0]}
    for given in (row["chosen"], row["rejected"], *row["responses"]):
        n = len(given["policy"])
        given |= {"kl": [0.0] * n, "sum_p2": [1.0] * n}
        given |= {"history": [0.0] * n, "policy_2": [0.0] * n}
    path = write(tmp_path, row)
    with pytest.raises(DataError, match=rf"{path}:1: .*: a response of length 0."):
        run_cost(path, name, {})
