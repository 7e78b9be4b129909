import json
from pathlib import Path

import pytest
import yaml

from luce.data.worlds.tasks import gold, split_of
from luce.errors import LuceError
from luce.evaluate import win_rate
from luce.intervals import Estimate
from luce.recipe.demo import FULL, QUICK, run_demo
from luce.recipe.demo_result import Result, table
from luce.recipe.load import load_recipe


@pytest.fixture(scope="module")
def told() -> list[str]:
    """What the quick demo said."""
    return []


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, told: list[str]) -> Path:
    """The DPO run of a quick demo."""
    return run_demo(tmp_path_factory.mktemp("demo") / "it", seed=3, quick=True, report=told.append)


def test_the_demo_leaves_a_run_with_a_win_rate_its_interval_and_its_n(run: Path) -> None:
    rate = json.loads((run / "evaluation.json").read_text())["win_rate"]
    assert rate["n"] == QUICK.held_out_prompts
    assert 0 <= rate["low"] <= rate["value"] <= rate["high"] <= 1
    assert json.loads((run / "manifest.json").read_text())["status"] == "finished"
    for name in ("model/model.safetensors", "report.html", "README.md", "metrics.jsonl"):
        assert (run / name).stat().st_size > 0


def test_the_last_lines_say_what_evaluation_json_says(run: Path, told: list[str]) -> None:
    evaluation = json.loads((run / "evaluation.json").read_text())
    said, rate = "\n".join(told), evaluation["win_rate"]
    interval = f"{rate['value']:.3f} [{rate['low']:.3f}, {rate['high']:.3f}]"
    assert f"{interval} (95 %, n = {rate['n']} prompts" in said
    assert str(run / "report.html") in said
    for when in ("before", "after"):
        parts = evaluation["gold"][when]
        total = parts["correct"]["mean"] + (parts["concise"]["mean"] + parts["polite"]["mean"]) / 2
        assert parts["total"]["mean"] == pytest.approx(total)


def test_samples_are_of_held_out_prompts_with_their_gold_reward(run: Path) -> None:
    rows = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    assert len(rows) == QUICK.held_out_prompts
    assert {split_of(row["prompt"]) for row in rows} == {"heldout"}
    for row in rows:
        assert row["before_reward"] == gold(row["prompt"], row["before"]).total
        assert row["after_reward"] == gold(row["prompt"], row["after"]).total


def test_no_prompt_is_used_twice(run: Path) -> None:
    data = run.parent / "data"
    shown, asked = (
        {json.loads(line)["prompt"] for line in (data / name).read_text().splitlines()}
        for name in ("demonstrations.jsonl", "pairs.jsonl")
    )
    assert len(shown) == QUICK.demonstrations
    assert not shown & asked
    assert {split_of(prompt) for prompt in shown | asked} == {"train"}


def test_both_recipes_are_files_that_luce_train_reads(run: Path) -> None:
    for stage, objective in (("sft", "sft"), ("dpo", "dpo")):
        path = run.parent / f"{stage}.yaml"
        recipe = load_recipe(path).recipe
        assert recipe.objective.name == objective
        assert recipe.output_dir == str(run.parent / stage)
        assert yaml.safe_load(path.read_text())["train"]["seed"] == 3


def test_a_folder_that_holds_something_is_refused(run: Path) -> None:
    with pytest.raises(LuceError, match="not an empty folder. Remove it"):
        run_demo(run.parent, quick=True)


def test_the_table_says_the_numbers() -> None:
    before = {"correct": 0.25, "concise": 0.5, "polite": 0.5, "total": 0.75, "tokens": 20.0}
    after = {"correct": 0.5, "concise": 1.0, "polite": 1.0, "total": 1.5, "tokens": 8.25}
    rate = win_rate([2.0, 2.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0])
    means = [{k: Estimate(v, 0.0, 1.0, 4) for k, v in m.items()} for m in (before, after)]
    lines = table(Result(rate.record(against="a", annotator="b"), *means)).splitlines()
    assert lines[0].startswith("mean of 4 held-out prompts")
    assert [line.split()[-2:] for line in lines[1:-1]] == [
        ["0.25", "0.50"],
        ["0.50", "1.00"],
        ["0.50", "1.00"],
        ["0.75", "1.50"],
        ["20.0", "8.2"],
    ]
    assert "0.875" in lines[-1] and "n = 4 prompts, 1 ties" in lines[-1]


def test_the_full_demo_is_of_the_size_it_claims() -> None:
    assert FULL.held_out_prompts >= 300
    assert FULL.samples % 2 == QUICK.samples % 2 == 0
