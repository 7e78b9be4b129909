"""Runs of reinforcement learning from a recipe."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from luce.errors import LuceError, RecipeError
from luce.models.policy import load_policy
from luce.models.reward import load_reward_model
from luce.online.rl import METHODS, Rloo
from luce.recipe.load import load_recipe
from luce.recipe.objective import REINFORCEMENT
from luce.recipe.online_rl import rl_run
from luce.recipe.online_rl_evaluate import with_empty

SCORER = '''
def vowels(prompt, responses):
    """The share of vowels."""
    return [sum(c in "aeiou" for c in r) / max(1, len(r)) for r in responses]


def compares(comparisons):
    return [0.5 for _ in comparisons]
'''


@pytest.fixture
def recipe(recipe, tmp_path, monkeypatch) -> dict:
    (tmp_path / "rules.py").write_text(SCORER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    recipe["objective"] = {"rloo": {"beta": 0.01}}
    recipe["online"] = {
        "rounds": 3, "prompts_per_round": 6, "n": 4, "max_new_tokens": 8,
        "annotator": "rules:vowels", "block": 4,
    }  # fmt: skip
    recipe["train"] = {"learning_rate": 0.01, "batch_size": 3, "save_steps": 2}
    return recipe


def run(recipe, **options):
    return rl_run(load_recipe(recipe), **options)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def text(folder, name):
    return (folder / name).read_text()


@pytest.fixture
def finished(recipe):
    recipe["evaluate"] |= {"sample_steps": 3}
    return run(recipe)


def test_a_run_leaves_what_runs_leave(finished):
    folder = finished
    left = {p.name for p in folder.iterdir()}
    assert left >= {
        "model", "recipe.yaml", "manifest.json", "metrics.jsonl", "timing.jsonl", "rounds.jsonl",
        "samples.jsonl", "evaluation.json", "report.html", "README.md", "prompts.jsonl", "rounds",
    }  # fmt: skip
    manifest = json.loads(text(folder, "manifest.json"))
    assert manifest["status"] == "finished" and manifest["steps"] == 6
    assert manifest["reference"]["kind"] == "initial"
    assert manifest["reference"]["hash"] == manifest["model"]["initial_hash"]
    assert manifest["model"]["hash"] != manifest["model"]["initial_hash"]
    assert manifest["annotator"]["sha256"] and manifest["objective"]["formula"].startswith("−A")
    every = lines(folder / "metrics.jsonl")
    steps = [r for r in every if r["split"] == "train"]
    assert [r["step"] for r in steps] == [1, 2, 3, 4, 5, 6]
    assert [r["round"] for r in steps] == [1, 1, 2, 2, 3, 3]
    sampled = [r for r in every if r["split"] == "samples"]
    assert [r["step"] for r in sampled] == [3, 6]
    assert {"samples/reward", "samples/kl", "samples/win_rate", "samples/length"} <= set(sampled[0])
    rounds = lines(folder / "rounds.jsonl")
    assert [r["round"] for r in rounds] == [1, 2, 3] and [r["step"] for r in rounds] == [0, 2, 4]
    assert rounds[0]["policy"] == manifest["model"]["initial_hash"]
    assert [r["samples"] for r in rounds] == [24, 24, 24]
    steps_of_round = [r["tokens"] for r in steps if r["round"] == 1]
    assert rounds[0]["tokens"] == sum(steps_of_round) < rounds[0]["tokens/unshared"]
    # a round's mean is that of its steps, and what people can read is what was trained on
    assert rounds[0]["reward"] == pytest.approx((steps[0]["reward"] + steps[1]["reward"]) / 2)
    read = lines(folder / "rounds" / "round-00001" / "samples.jsonl")
    rewards = [r["reward"] for row in read for r in row["responses"]]
    assert len(rewards) == 24
    assert sum(rewards) / 24 == pytest.approx(rounds[0]["reward"], abs=1e-6)
    evaluation = json.loads(text(folder, "evaluation.json"))
    assert (
        evaluation["win_rate"]["n"] == 4 and evaluation["win_rate"]["annotator"] == "rules:vowels"
    )
    assert evaluation["reward"]["after"]["n"] == 4 and evaluation["kl"]["value"] > 0
    assert evaluation["length"]["after"]["n"] == 4
    samples = lines(folder / "samples.jsonl")
    assert len(samples) == 4 and {"before_reward", "after_reward", "preference"} <= set(samples[0])
    load_policy(str(folder / "model"))
    # the recipe that was written down is read again
    again = load_recipe(folder / "recipe.yaml")
    assert again.objective == Rloo(beta=0.01)


def test_a_run_is_not_written_over_and_a_changed_one_not_gone_on_with(finished, recipe):
    with pytest.raises(LuceError, match="holds a run already"):
        run(recipe)
    recipe["objective"] = {"rloo": {"beta": 0.5}}
    with pytest.raises(LuceError, match="objective.rloo.beta: 0.01 → 0.5"):
        run(recipe, resume=True)


def test_ppo_leaves_its_critic_and_a_lora_run_its_adapter(recipe):
    recipe["objective"] = {"ppo": {"critic_learning_rate": 0.01}}
    recipe["model"]["lora"] = {"r": 4, "alpha": 8.0}
    recipe["train"] |= {"epochs": 2.0, "max_steps": 5}
    folder = run(recipe)
    load_reward_model(str(folder / "critic"))
    assert (folder / "model" / "adapter_config.json").exists()
    steps = lines(folder / "metrics.jsonl")
    assert [r["round"] for r in steps] == [1, 1, 1, 1, 2]  # 2 steps a pass, 2 passes a round
    assert {"value_loss", "explained_variance", "clipfrac"} <= set(steps[0])
    assert steps[0]["kl"] == pytest.approx(0, abs=1e-4)


def test_a_reward_model_grades_and_empty_responses_get_the_lowest():
    asked = []

    def grade(batch):
        asked.extend(batch)
        return [[float(len(t)) for t in texts] for _, texts in batch]

    found = with_empty(grade)([("p", ["abc", " ", "a"]), ("q", ["", "ab"])])
    assert found == [[3.0, 1.0, 1.0], [1.0, 2.0]]
    assert asked == [("p", ["abc", "a"]), ("q", ["ab"])]
    with pytest.raises(RecipeError, match="every response of a block is empty"):
        with_empty(grade)([("p", [""])])


@pytest.mark.parametrize(
    "change, said",
    [
        ({"online": {"select": "listwise"}}, "set online.select=best_vs_worst"),
        ({"online": {"temperature": 0.0}}, "recipe.online.temperature"),
        ({"online": {"temperature": [1.0, 0.7]}}, "give one number above 0"),
        ({"train": {"eval_steps": 5}}, "recipe.train.eval_steps"),
        ({"evaluate": {"best": "reward"}}, "recipe.evaluate.best"),
        ({"reference": "none"}, "Set `reference: initial`, or `beta: 0`"),
        ({"reference": "previous_round"}, "keeps its reference for all rounds"),
        ({"model": {"kind": "reward"}}, "Set `model.kind: policy`"),
        ({"train": {"epochs": 2.0}}, "Set `epochs: 1`, or clip_low and clip_high"),
        ({"online": {"annotator": "rules:compares"}}, "gives no reward of one"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_reinforcement_learning_cannot_use_is_refused_with_the_remedy(recipe, change, said):
    for key, value in change.items():
        recipe[key] = recipe[key] | value if isinstance(value, dict) else value
    with pytest.raises(RecipeError) as error:
        run(recipe)
    assert said in str(error.value)


def test_without_rounds_the_objective_says_what_is_missing(recipe):
    del recipe["online"]
    with pytest.raises(RecipeError, match="Add an `online:` section"):
        load_recipe(recipe)


def test_the_names_are_those_of_the_methods():
    assert set(REINFORCEMENT) == set(METHODS)


def test_one_process_only(recipe, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(LuceError, match="Start it without torchrun"):
        run(recipe)


def test_where_the_kl_is_free_there_need_be_no_reference(recipe):
    recipe |= {"reference": "none", "objective": {"dr_grpo": {}}}
    recipe["online"]["rounds"] = 1
    recipe["evaluate"]["sample_prompts"] = 0
    folder = run(recipe)
    assert "kl" not in lines(folder / "metrics.jsonl")[0]
    assert json.loads(text(folder, "evaluation.json"))["win_rate"] is None


RUN = """
import sys
from luce.recipe.load import load_recipe
from luce.recipe.online_rl import rl_run
rl_run(load_recipe(sys.argv[1], sys.argv[2:3]), resume="resume" in sys.argv)
"""


def start(path, *more) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(path.parent)}
    command = [sys.executable, "-c", RUN, str(path), *more]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )


def finish(process) -> None:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output.decode()


def kill_when(process, ready) -> bool:
    while process.poll() is None:
        if ready():
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
            return True
        time.sleep(0.001)
    process.communicate()
    return False


def result(folder) -> dict:
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for part in ("model", "critic")
        for path in sorted((folder / part).glob("*.safetensors"))
    }
    for name in ("metrics.jsonl", "rounds.jsonl", "samples.jsonl", "evaluation.json"):
        found[name] = (folder / name).read_bytes()
    for path in sorted((folder / "rounds").rglob("samples.jsonl")):
        found[str(path.relative_to(folder))] = path.read_bytes()
    return found


@pytest.mark.slow
def test_a_killed_and_resumed_run_is_the_undisturbed_one(recipe, tmp_path):
    """SIGKILL at a random step, and then while a round is sampled."""
    draw = random.Random(5)
    recipe["objective"] = {"ppo": {"critic_learning_rate": 0.01}}
    recipe["online"] |= {"rounds": 8, "prompts_per_round": 9, "block": 2}
    recipe["train"] |= {"save_steps": 5}
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(recipe))
    calm = start(path, f"output_dir={tmp_path / 'calm'}")
    folder, at_step = tmp_path / "run", draw.randint(6, 14)
    metrics, last = folder / "metrics.jsonl", folder / "rounds" / "round-00007"

    def written() -> int:
        return len(metrics.read_text().splitlines()) if metrics.exists() else 0

    assert kill_when(start(path, f"output_dir={folder}"), lambda: written() > at_step)
    again = start(path, f"output_dir={folder}", "resume")
    kill_when(again, lambda: len(list(last.glob("block-*"))) >= 2)
    finish(start(path, f"output_dir={folder}", "resume"))
    finish(calm)
    one, other = result(folder), result(tmp_path / "calm")
    assert one.keys() == other.keys() and len(one) == 6 + 8
    assert {name for name in one if one[name] != other[name]} == set()
