"""`luce cost` is finite, value and gradient, for every preset at the ends of every range."""

import itertools
import json

import pytest

from luce.cli.main import run
from luce.objectives import OBJECTIVES

ENDS = (
    *itertools.product((0.0, -90.0), repeat=4),
    *itertools.product((0.0, -900.0), repeat=4),
)[:-1]
"""Log-probabilities of whole responses, nats: of the first and the second under the policy, and
under the reference. Log-ratios go to ±900, which are margins of ±90 at β = 0.1."""


def response(policy: float, reference: float, length: int, end: bool) -> dict:
    """Every column at an end of its range."""
    return {
        "policy": [policy / length] * length,
        "reference": [reference / length] * length,
        "history": [reference / length] * length,
        "policy_2": [policy / length] * length,
        "kl": [90.0 if end else 0.0] * length,
        "sum_p2": [1e-6 if end else 1.0] * length,
        "reward": policy,
    }


def given(y: dict, objective) -> dict:
    if "reward" in objective.needs:
        return {"reward": y["reward"]}
    return {key: value for key, value in y.items() if key != "reward"}


def rows(objective) -> list[dict]:
    """A row for each combination of log-probabilities, label and lengths."""
    found = []
    for i, (a, b, c, d) in enumerate(ENDS):
        lengths = [(1, 1), (3, 1), (1, 3)][i % 3]
        y, z = (
            given(response(policy, reference, length, end=bool(i % 2)), objective)
            for policy, reference, length in ((a, c, lengths[0]), (b, d, lengths[1]))
        )
        match objective.structure:
            case "pair":
                row = {"chosen": y, "rejected": z, "margin": 90.0 * (-1) ** i}
                row |= {"score_chosen": 90.0, "score_rejected": [0.0, 89.9][i % 2]}
                row["reference_sample"] = ["chosen", "rejected"][i % 2]
                soft = objective.name != "odpo"  # an offset is of the better response
                row["label"] = [1.0, 0.5, 0.0][i % 3] if soft else 1.0
            case "list":
                row = {"responses": [y, z, y], "scores": [[1.0, 0.0, 1.0], [-90, 0, 9]][i % 2]}
            case "unpaired":
                row = {"completion": y, "label": bool(i % 2), "mismatched": z}
            case "demonstration":
                row = {"completion": y}
        found.append(row)
    return found


def numbers(value) -> list:
    """Every leaf of nested lists and dicts."""
    if isinstance(value, dict):
        value = list(value.values())
    return [x for part in value for x in numbers(part)] if isinstance(value, list) else [value]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_costs_and_gradients_are_finite_at_the_ends_of_every_range(name, dtype, tmp_path, capsys):
    objective, path = OBJECTIVES[name](), tmp_path / "rows.jsonl"
    given_rows = rows(objective)
    path.write_text("".join(json.dumps(row) + "\n" for row in given_rows))
    arguments = ["cost", str(path), "--objective", name, "--grad", "--json", "--dtype", dtype]
    assert run(arguments) == 0, capsys.readouterr().err
    found = json.loads(capsys.readouterr().out)
    assert len(found) == len(given_rows)
    for row in found:  # what is not finite is null in JSON
        assert isinstance(row["cost"], float)
        assert all(isinstance(x, float) for x in numbers(row["grad"])), row


BATCH = [name for name in OBJECTIVES if OBJECTIVES[name]().scope == "batch"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", BATCH)
def test_a_batch_of_one_is_finite(name, dtype, tmp_path, capsys):
    path = tmp_path / "rows.jsonl"
    for row in rows(OBJECTIVES[name]())[::4]:
        path.write_text(json.dumps(row) + "\n")
        arguments = ["cost", str(path), "--objective", name, "--grad", "--json", "--dtype", dtype]
        assert run(arguments) == 0, capsys.readouterr().err
        (found,) = json.loads(capsys.readouterr().out)
        assert all(isinstance(x, float) for x in (found["cost"], *numbers(found["grad"])))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_orpo_has_a_gradient_where_a_response_is_certain(dtype, tmp_path, capsys):
    """Log-odds are infinite at probability one; they are held just below it, with slope 1."""
    path = tmp_path / "rows.jsonl"
    certain, other = {"policy": [0.0, 0.0]}, {"policy": [-1.0]}
    pairs = [(certain, other), (other, certain), (certain, certain)]
    rows = [{"chosen": y, "rejected": z} for y, z in pairs]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["cost", str(path), "--objective", "orpo", "--grad", "--json", "--dtype", dtype]
    assert run(arguments) == 0
    first, second, both = json.loads(capsys.readouterr().out)
    assert first["margin"] > 30 and second["margin"] < -30 and both["margin"] == 0
    # λ = 0.1: the pair pulls with nothing, with all, and with half; the likelihood with 1/|y|
    assert first["grad"]["chosen"] == pytest.approx([-0.5, -0.5])
    assert second["grad"]["rejected"] == pytest.approx([0.05, 0.05])
    assert both["grad"]["chosen"] == pytest.approx([-0.525, -0.525])
