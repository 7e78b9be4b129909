import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from luce.errors import DataError, LuceError, RecipeError
from luce.objectives import OBJECTIVES
from luce.objectives.presets import dpo, kto
from luce.recipe.cost import cost, read_log_probs, run_cost
from luce.types import Pairs, Responses

PAIR = {
    "id": "a",
    "chosen": {"policy": [-1.0, -3.0], "reference": [-0.5, -1.5]},
    "rejected": {"policy": [-1.5, -1.5, -1.5], "reference": [-1.0, -1.0, -1.0]},
}


def write(folder: Path, *rows: dict | str) -> Path:
    path = folder / "logps.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def sigma(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def test_each_row_has_its_own_cost_margin_and_gradient(tmp_path):
    other = {**PAIR, "id": "b", "chosen": {"policy": [-1.0], "reference": [-3.0]}}
    path = write(tmp_path, PAIR, "", other)
    first, second = run_cost(path, "dpo", {"beta": 0.1}, grad=True)
    assert first["id"] == "a" and second["id"] == "b"
    assert first["margin"] == pytest.approx(-0.05, abs=1e-12)
    assert first["cost"] == pytest.approx(math.log(1 + math.exp(0.05)), abs=1e-12)
    assert first["grad"]["chosen"] == pytest.approx([-0.1 * sigma(0.05)] * 2, abs=1e-12)
    assert first["grad"]["rejected"] == pytest.approx([0.1 * sigma(0.05)] * 3, abs=1e-12)
    assert second["margin"] == pytest.approx(0.1 * (2 + 1.5))
    assert len(second["grad"]["chosen"]) == 1
    assert "grad" not in run_cost(path, "dpo", {})[0]
    json.dumps(first, allow_nan=False)


COLUMNS = {
    "history": (-0.7, -0.2, -1.1),
    "policy_2": (-2.0, -0.1, -0.4),
    "kl": (0.3, 0.0, 1.2),
    "sum_p2": (0.5, 1.0, 0.25),
}
ON_PAIRS = [
    name
    for name in OBJECTIVES
    if OBJECTIVES[name]().structure == "pair" and "reward" not in OBJECTIVES[name]().needs
]


@pytest.mark.parametrize("name", ON_PAIRS)
def test_it_is_the_function_that_training_calls(tmp_path, name):
    objective = OBJECTIVES[name]()
    label = 1.0 if name == "odpo" else 0.8
    row = {"id": "a", "label": label, "score_chosen": 3, "score_rejected": 1.5}
    row |= {"reference_sample": "rejected", "margin": 0.5}
    sides = []
    for role in ("chosen", "rejected"):
        given = PAIR[role]
        n = len(given["policy"])
        columns = {key: list(values[:n]) for key, values in COLUMNS.items()}
        row[role] = {**given, **columns}
        tensors = {
            key: torch.tensor(values, dtype=torch.float64) for key, values in row[role].items()
        }
        policy, reference = tensors.pop("policy"), tensors.pop("reference")
        sides.append(Responses(policy, torch.tensor([n]), reference, tensors))
    of_row = ("label", "score_chosen", "score_rejected")
    numbers = {key: torch.tensor([row[key]], dtype=torch.float64) for key in of_row}
    key = int.from_bytes(hashlib.sha256(b"0 a").digest()[:8], "little") >> 1
    sample = torch.zeros(1, dtype=torch.float64)
    batch = Pairs(*sides, **numbers, reference_sample=sample, keys=torch.tensor([key]))
    running = {key: value.item() for key, value in objective.statistics(batch).items()}
    batch = replace(batch, running=running)
    (got,) = run_cost(write(tmp_path, row), name, {})
    assert got["cost"] == pytest.approx(objective(batch).item(), rel=1e-12)
    assert got["margin"] == pytest.approx(objective.margin(batch).item(), rel=1e-12, abs=1e-15)


def test_a_soft_label_a_missing_id_and_other_columns(tmp_path):
    row = {**PAIR, "label": 0.0, "prompt": "hello"}
    del row["id"]
    path = write(tmp_path, row)
    (got,) = run_cost(path, "dpo", {})
    assert got["id"] == f"{path}:1"
    assert got["cost"] == pytest.approx(math.log(1 + math.exp(-0.05)))


def test_float32_is_float32(tmp_path):
    path = write(tmp_path, PAIR)
    single = run_cost(path, "dpo", {}, dtype="float32")[0]["cost"]
    double = run_cost(path, "dpo", {}, dtype="float64")[0]["cost"]
    assert single != double and single == pytest.approx(double, rel=1e-6)
    with pytest.raises(LuceError, match="neither float32 nor float64"):
        run_cost(path, "dpo", {}, dtype="float16")


def test_a_reference_free_objective_needs_no_reference(tmp_path):
    row = {role: {"policy": PAIR[role]["policy"]} for role in ("chosen", "rejected")}
    assert run_cost(write(tmp_path, row), "simpo", {})[0]["margin"] == pytest.approx(-1.0)


def test_unpaired_rows_share_the_baseline_of_their_mismatched_responses(tmp_path):
    desirable = {
        "completion": {"policy": [-1.0], "reference": [-2.0]},
        "label": True,
        "mismatched": {"policy": [-1.0], "reference": [-1.75]},
    }
    undesirable = {**desirable, "label": False}
    undesirable["mismatched"] = {"policy": [-1.0], "reference": [-1.25]}
    first, second = run_cost(
        write(tmp_path, desirable, undesirable), "kto", {"beta": 2.0}, grad=True
    )
    assert first["baseline"] == pytest.approx(2 * 0.5)  # the mean of 0.75 and 0.25
    assert first["margin"] == pytest.approx(2 * (1 - 0.5))
    assert first["cost"] == pytest.approx(sigma(-1.0))
    assert second["cost"] == pytest.approx(sigma(1.0))
    assert first["grad"] == {"completion": pytest.approx([-2 * sigma(1) * sigma(-1)])}


def test_unpaired_rows_without_mismatched_responses_have_a_baseline_of_zero(tmp_path):
    row = {"completion": {"policy": [-1.0], "reference": [-2.0]}, "label": True}
    (got,) = run_cost(write(tmp_path, row), "kto", {})
    assert got["baseline"] == 0.0 and got["cost"] == pytest.approx(sigma(-0.1))


@pytest.mark.parametrize("role", ["completion", "chosen"])
def test_a_demonstration_may_be_called_completion_or_chosen(tmp_path, role):
    path = write(tmp_path, {role: {"policy": [-1.0, -3.0]}}, {role: {"policy": [0]}})
    first, second = run_cost(path, "sft", {}, grad=True)
    assert first["cost"] == 2.0 and first["margin"] is None
    assert first["grad"] == {role: [-0.5, -0.5]}
    assert str(second["cost"]) == "0.0"


def test_a_reward_model_is_given_rewards(tmp_path):
    row = {"chosen": {"reward": 0.3}, "rejected": {"reward": 0.8}, "margin": 0.25}
    (got,) = run_cost(write(tmp_path, row), "bradley_terry", {}, grad=True)
    assert got["margin"] == pytest.approx(-0.5)
    assert got["cost"] == pytest.approx(math.log(1 + math.exp(0.75)))
    assert got["grad"] == pytest.approx({"chosen": -sigma(0.75), "rejected": sigma(0.75)})


def chosen(**fields) -> dict:
    return {**PAIR, "chosen": {**PAIR["chosen"], **fields}}


BAD = {
    "chosen.policy: a response of length 0.": chosen(policy=[], reference=[]),
    "chosen.reference: 1 tokens, but chosen.policy has 2.": chosen(reference=[-1.0]),
    "chosen.policy[1]: nan is not a finite number.": chosen(policy=[-1.0, math.nan]),
    "chosen.reference[0]: -inf is not a finite number.": chosen(reference=[-math.inf, -1.0]),
    "chosen.policy[1]: 0.5 is no log-probability, which is at most 0.": chosen(policy=[-1.0, 0.5]),
    "chosen.policy[0]: '-1' is not a finite number.": chosen(policy=["-1", -1.0]),
    "chosen.policy: not a list": chosen(policy=-4.0),
    "chosen: no field 'polcy'. Did you mean 'policy'?": {**PAIR, "chosen": {"polcy": [-1.0]}},
    "chosen.policy: missing.": {**PAIR, "chosen": {"reference": [-1.0]}},
    "chosen.reference: missing; dpo compares": {**PAIR, "chosen": {"policy": [-1.0]}},
    "chosen: not an object with `policy` and `reference`.": {**PAIR, "chosen": "hello"},
    "label: 1.5 is no probability.": {**PAIR, "label": 1.5},
    "label: 'yes' is not a finite number.": {**PAIR, "label": "yes"},
    "no field 'lable'. Did you mean 'label'?": {**PAIR, "lable": 0.5},
    "no `rejected`. A row of dpo has `chosen` and `rejected`.": {"chosen": PAIR["chosen"]},
    "chosen.kl[0]: -1 is no KL divergence, which is at least 0.": chosen(kl=[-1, 0.5]),
    "chosen.sum_p2[1]: 0 is no sum of squared probabilities": chosen(sum_p2=[1, 0]),
    "chosen.history[0]: 1 is no log-probability": chosen(history=[1, 0]),
    "chosen.kl: 1 tokens, but chosen.policy has 2.": chosen(kl=[0.5]),
    "chosen: no field 'histroy'. Did you mean 'history'?": chosen(histroy=[0, 0]),
    "chosen.policy[0]: 1000": chosen(policy=[10**400, -1.0]),
    "no `score_rejected` beside `score_chosen`. Give both, or none.": {**PAIR, "score_chosen": 1},
    "reference_sample: 'both' is neither 'chosen' nor 'rejected'.": {
        **PAIR,
        "reference_sample": "both",
    },
    "no field 'score_choosen'. Did you mean 'score_chosen'?": {**PAIR, "score_choosen": 1},
    "a list of responses, but dpo takes pairs: give": {"responses": [PAIR["chosen"]] * 2},
    "no `chosen`. A row of dpo has `chosen` and `rejected`.": {"completion": PAIR["chosen"]},
    "not JSON": "{",
    "not a JSON object": "[1]",
}


@pytest.mark.parametrize("message", BAD)
def test_a_bad_row_is_named_by_file_line_and_field(tmp_path, message):
    path = write(tmp_path, PAIR, BAD[message])
    with pytest.raises(DataError) as caught:
        read_log_probs(path, dpo())
    assert str(caught.value).startswith(f"{path}:2: {message}")
    assert "\n" not in str(caught.value)


BAD_UNPAIRED = {
    "no `label`.": {"completion": {"policy": [-1.0], "reference": [-1.0]}},
    "label: 0.5 is neither true nor false.": {
        "completion": {"policy": [-1.0], "reference": [-1.0]},
        "label": 0.5,
    },
    "no `mismatched`, which other rows have.": {
        "completion": {"policy": [-1.0], "reference": [-1.0]},
        "label": False,
    },
}


@pytest.mark.parametrize("message", BAD_UNPAIRED)
def test_a_bad_unpaired_row_is_named(tmp_path, message):
    y = {"policy": [-1.0], "reference": [-1.0]}
    path = write(tmp_path, {"completion": y, "label": True, "mismatched": y}, BAD_UNPAIRED[message])
    with pytest.raises(DataError) as caught:
        read_log_probs(path, kto())
    assert str(caught.value).startswith(f"{path}:2: {message}")


def test_a_file_that_cannot_be_read_or_is_empty_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent.jsonl: cannot be read"):
        run_cost(tmp_path / "absent.jsonl", "dpo", {})
    with pytest.raises(DataError, match=r"logps.jsonl: no rows"):
        run_cost(write(tmp_path), "dpo", {})


def test_unknown_objectives_and_parameters_are_named(tmp_path):
    path = write(tmp_path, PAIR)
    with pytest.raises(RecipeError, match="objective: no 'dop'. Did you mean 'dpo'?"):
        run_cost(path, "dop", {})
    with pytest.raises(RecipeError, match=r"^objective.dpo.beta: -1.0 is not a positive"):
        run_cost(path, "dpo", {"beta": -1})


def test_a_cost_that_is_not_finite_is_named(tmp_path):
    row = {"chosen": {"policy": [-1e30]}, "rejected": {"policy": [-1.0]}}
    rows = read_log_probs(write(tmp_path, row), OBJECTIVES["slic"]())
    square = OBJECTIVES["bradley_terry"](loss="square")
    assert cost(rows, OBJECTIVES["slic"](), dtype="float32")[0]["cost"] == pytest.approx(1.1e30)
    row = {"chosen": {"reward": -1e30}, "rejected": {"reward": 0}}
    with pytest.raises(LuceError, match=r"logps.jsonl:1: the cost is inf in float32"):
        cost(read_log_probs(write(tmp_path, row), square), square, dtype="float32")
