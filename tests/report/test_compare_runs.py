"""What `luce compare` tells: differing keys with their origin, and differences on the same rows."""

import json
import random

import numpy as np
import pytest

from luce.cli.main import run as luce
from luce.report.compare import compare_runs
from luce.report.compare_recipes import Given, recipe_values
from luce.report.compare_text import comparison_lines

RECIPE = """# Every value of this run; behind each, where it came from.
name: {name}  # a.yaml:1
output_dir: runs/{name}  # default
objective:
  dpo:
    beta: {beta}  # {origin}
train:
  seed: 0  # default
"""


def held_out(margins, ids=None, file="pairs.jsonl"):
    return [
        {"id": f"{file}:{i}", "file": file, "line": i, "prompt": f"p{i // 2}", "label": 1.0,
         "margin": margin, "initial_margin": 0.0}
        for i, margin in zip(ids or range(1, len(margins) + 1), margins, strict=True)
    ]  # fmt: skip


def write_pairs(folder, rows):
    (folder / "held_out.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def two(write_run):
    """Two runs of different β; B is right on two pairs more of four."""
    a = write_run("a", recipe=RECIPE.format(name="a", beta=0.1, origin="a.yaml:4"))
    b = write_run("b", recipe=RECIPE.format(name="b", beta=0.3, origin="command line"))
    write_pairs(a, held_out([1.0, -1.0, -2.0, 0.0]))
    write_pairs(b, held_out([1.0, 1.0, 2.0, -1.0]))
    return a, b


def test_the_keys_that_differ_are_told_with_their_origin(two):
    found = compare_runs(two)
    assert [key.key for key in found.keys] == ["objective.dpo.beta"]
    assert found.keys[0].given == (Given("0.1", "a.yaml:4"), Given("0.3", "command line"))


def test_every_value_of_a_real_recipe_is_read_back(tmp_path):
    from luce.recipe.load import load_recipe, written
    from luce.recipe.overrides import flatten
    from luce.recipe.provenance import dump_resolved
    from luce.recipe.yaml12 import scalar_text

    path = tmp_path / "odd  # name.yaml"
    path.write_text(
        'model: {path: "a  # b: c", lora: {target_modules: [q, k]}}\n'
        'data: {path: d, columns: {prompt: "frage: \\u00e9\\U0001F600 \\"x\\""}}\nobjective: dpo\n'
    )
    resolved = load_recipe(path, ["train.seed=3"])
    read = recipe_values(dump_resolved(resolved))
    values = flatten(written(resolved.recipe))
    assert {key: given.value for key, given in read.items()} == {
        key: scalar_text(value) for key, value in values.items()
    }
    assert read["train.seed"].origin == "command line"
    assert read["train.epochs"].origin == "default"


def test_an_objective_of_ones_own_is_one_part_of_the_key():
    text = 'objective:\n  "my.mine:loss":\n    beta: 0.1  # r.yaml:3\n'
    assert recipe_values(text) == {"objective.my.mine:loss.beta": Given("0.1", "r.yaml:3")}


def test_a_paired_difference_is_that_of_the_pairs_by_hand(two):
    accuracy, margin = compare_runs(two).differences[:2]
    # wins of A: 1, 0, 0, ½; of B: 1, 1, 1, 0: differences 0, 1, 1, −½ of prompts p0, p1, p1, p2
    assert accuracy.name == "accuracy" and accuracy.rows == 4 and accuracy.estimate.n == 3
    assert accuracy.estimate.value == pytest.approx(100 * 1.5 / 4)
    assert margin.estimate.value == pytest.approx((0 + 2 + 4 - 1) / 4)


def test_the_margins_of_different_formulas_are_not_compared(two, with_manifest):
    manifest = with_manifest({"objective": {"name": "ipo", "formula": "(z − 1/2τ)²"}})
    (two[1] / "manifest.json").write_text(json.dumps(manifest))
    assert "margin" not in [d.name for d in compare_runs(two).differences]


def test_the_difference_is_surer_than_the_two_numbers(write_run):
    draw = random.Random(1)
    base = [draw.gauss(0.3, 1) for _ in range(400)]
    a, b = write_run("a"), write_run("b")
    write_pairs(a, held_out(base))
    write_pairs(b, held_out([z + 0.1 for z in base]))
    found = compare_runs([a, b]).differences[0]
    apart = 100 * np.mean([(z + 0.1 > 0) - (z > 0.0) for z in base])
    assert found.estimate.value == pytest.approx(apart) and found.estimate.low > 0
    assert found.estimate.high - found.estimate.low < 5  # of two shares apart: 13


def test_rows_are_found_again_where_the_file_has_moved(two):
    write_pairs(two[1], held_out([1.0, 1.0, 2.0, -1.0], file="elsewhere/pairs.jsonl"))
    assert compare_runs(two).differences[0].rows == 4


def test_rows_of_other_files_are_not_taken_for_the_same(two, with_manifest):
    data = {"train": {"sha256": "aa"}, "eval": {"sha256": "aa"}}
    (two[1] / "manifest.json").write_text(json.dumps(with_manifest({"data": data})))
    rows = held_out([1.0, 1.0, 2.0, -1.0])
    write_pairs(two[1], [row | {"prompt": "another"} for row in rows])
    assert "accuracy" not in [d.name for d in compare_runs(two).differences]


def test_only_rows_that_both_held_out_are_paired(two):
    write_pairs(two[1], held_out([1.0, 1.0, 2.0, -1.0], ids=[3, 4, 5, 6]))
    assert compare_runs(two).differences[0].rows == 2


def test_samples_are_paired_by_prompt(write_run, make_samples):
    rows = make_samples(6)
    longer = [row | {"after_tokens": row["after_tokens"] + 3} for row in rows]
    a, b = write_run("a", sampled=rows), write_run("b", sampled=longer[::-1])
    found = {d.name: d for d in compare_runs([a, b]).differences}
    # of three prompts asked twice each, the occurrences are met in their order: 3 ± what lies apart
    assert found["length"].rows == 6 and found["length"].estimate.n == 3
    assert found["length"].estimate.value == pytest.approx(3.0)
    assert "win_rate" not in found  # no preferences were written


def test_win_rates_are_paired_only_against_the_same_start(write_run, make_samples, with_manifest):
    rows = [row | {"preference": i % 2} for i, row in enumerate(make_samples(6))]
    better = [row | {"preference": 1.0} for row in rows]
    a, b = write_run("a", sampled=rows), write_run("b", sampled=better)
    found = {d.name: d for d in compare_runs([a, b]).differences}
    assert found["win_rate"].estimate.value == pytest.approx(50.0)
    (b / "manifest.json").write_text(json.dumps(with_manifest({"model": {"initial_hash": "x"}})))
    assert "win_rate" not in [d.name for d in compare_runs([a, b]).differences]


def test_three_runs_are_each_set_against_the_first(two, write_run):
    third = write_run("c", recipe=RECIPE.format(name="c", beta=0.1, origin="a.yaml:4"))
    write_pairs(third, held_out([1.0, -1.0, -2.0, 0.0]))
    found = [d for d in compare_runs([*two, third]).differences if d.name == "accuracy"]
    assert [d.run for d in found] == [1, 2] and found[1].estimate.value == 0


def test_hashes_are_the_same_or_not_or_not_recorded(two, with_manifest):
    manifest = with_manifest({"luce": None, "reference": {"hash": "ffff"}})
    (two[1] / "manifest.json").write_text(json.dumps(manifest))
    told = {fact.title: fact.same for fact in compare_runs(two).facts}
    assert told["model at the start"] is True and told["reference"] is False
    assert told["luce"] is None


def test_the_terminal_has_eighty_columns(two):
    lines = comparison_lines(compare_runs(two))
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "B 0.3  (command line)" in text
    assert "B +37.5" in text and "n = 4" in text
    assert "A 71.0 %  64.4–76.9 %  n = 200" in text


def test_the_command_prints_json_and_writes_the_page(two, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert luce(["compare", *map(str, two), "--json", "--html", str(page)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [run["letter"] for run in found["runs"]] == ["A", "B"]
    assert found["runs"][0]["results"]["accuracy"]["value"] == 0.71
    assert found["runs"][0]["results"]["chosen"]["low"] is None
    assert found["recipe"][0]["given"][1] == {"value": "0.3", "from": "command line"}
    assert found["differences"][0] == {
        "name": "accuracy", "unit": "points", "run": "B", "from": "A", "rows": 4, "n": 3,
        "value": 37.5, "low": pytest.approx(-50, abs=1), "high": pytest.approx(100, abs=1),
    }  # fmt: skip
    text = page.read_text("utf-8")
    assert "objective.dpo.beta" in text and "Paired differences" in text


def test_one_folder_is_not_a_comparison(two, capsys):
    assert luce(["compare", str(two[0])]) == 2
    assert "takes 2 to 8 runs; 1 were given" in capsys.readouterr().err
