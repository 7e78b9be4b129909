"""Samples in training: the same numbers as after it, and the best step taken by what was asked."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from luce.cli.main import run
from luce.errors import RecipeError
from luce.models.policy import load_policy
from luce.recipe.eval_win_rate import win_rate_command
from luce.recipe.run import train_run
from luce.recipe.watch import Watch

JUDGE = """
def few_words(comparisons):
    return [0.5 if len(c.a) == len(c.b) else float(len(c.a) < len(c.b)) for c in comparisons]
"""


@pytest.fixture
def few_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("few_words_judge.py").write_text(JUDGE)
    monkeypatch.delitem(sys.modules, "few_words_judge", raising=False)
    return "few_words_judge:few_words"


def sampled(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["split"] == "samples"]


def weights(folder):
    policy = load_policy(str(folder / "model"))
    return {name: p.detach().clone() for name, p in policy.inner.named_parameters()}


def test_the_last_samples_are_those_of_the_evaluation(recipe, few_words):
    recipe["evaluate"] |= {"annotator": few_words, "sample_steps": 4}
    folder = train_run(recipe)
    rows = sampled(folder)
    assert [row["step"] for row in rows] == [4, 6]  # every fourth, and the last
    found = json.loads((folder / "evaluation.json").read_text())
    last = rows[-1]
    assert last["samples/win_rate"] == found["win_rate"]["value"]
    assert last["samples/length"] == found["length"]["after"]["mean"]
    assert last["samples/ended"] == found["length"]["after"]["ended"]
    assert last["samples/kl"] == pytest.approx(found["kl"]["value"], abs=1e-6)
    assert last["samples/kl_low"] < last["samples/kl"] < last["samples/kl_high"]
    assert found["best"] is None and not (folder / "best").exists()
    report = (folder / "report.html").read_text()
    assert "Win rate over the initial policy" in report and "Length of samples" in report


def test_the_best_step_is_exported_and_the_others_are_not(recipe, few_words, monkeypatch):
    values = {2: 0.4, 4: 0.9, 6: 0.6}
    told = Watch._judged
    monkeypatch.setattr(
        Watch,
        "_judged",
        lambda self, ours: told(self, ours) | {"samples/win_rate": values[self.trainer.step]},
    )
    recipe["evaluate"] |= {"annotator": few_words, "sample_steps": 2, "best": "win_rate"}
    folder = train_run(recipe)
    best = json.loads((folder / "evaluation.json").read_text())["best"]
    assert (best["step"], best["value"], best["within"]) == (4, 0.9, True)
    assert best["steps"] == [2, 4, 6]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["exported_step"], manifest["steps"]) == (4, 6)
    assert "those of step 4, of the 3 sampled steps" in (folder / "report.html").read_text()
    # a run that ends at step 4 on the same schedule has these weights
    short = recipe | {"output_dir": str(folder.parent / "short")}
    short["train"] = recipe["train"] | {"lr_scheduler_type": "constant", "warmup_ratio": 0.0}
    whole = dict(short) | {"output_dir": str(folder.parent / "whole")}
    short["train"] = short["train"] | {"max_steps": 4}
    short["evaluate"] = {k: v for k, v in recipe["evaluate"].items() if "best" not in k}
    ours, theirs = weights(train_run(whole)), weights(train_run(short))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.slow
def test_of_those_within_max_kl_and_else_the_nearest(recipe, few_words, monkeypatch):
    looked = {
        2: {"samples/win_rate": 0.6, "samples/kl": 0.5},
        4: {"samples/win_rate": 0.9, "samples/kl": 3.0},
        6: {"samples/win_rate": 0.7, "samples/kl": 1.0},
    }
    told = Watch._judged
    monkeypatch.setattr(
        Watch, "_judged", lambda self, ours: told(self, ours) | looked[self.trainer.step]
    )
    for number, (most, step, within) in enumerate(
        [(2.0, 6, True), (0.7, 2, True), (0.1, 2, False)]
    ):
        given = recipe | {"output_dir": f"run-{number}"}
        given["evaluate"] = recipe["evaluate"] | {
            "annotator": few_words, "sample_steps": 2, "best": "win_rate", "max_kl": most
        }  # fmt: skip
        folder = train_run(given)
        best = json.loads((folder / "evaluation.json").read_text())["best"]
        assert (best["step"], best["within"]) == (step, within)
        report = (folder / "report.html").read_text()
        assert ("No sampled step was within" in report) is not within


def test_the_best_is_chosen_on_prompts_of_its_own(recipe, few_words):
    recipe["evaluate"] |= {"annotator": few_words, "sample_steps": 3, "best": "win_rate"}
    folder = train_run(recipe)
    state = json.loads((folder / "initial.json").read_text())
    shown, watched = ({tuple(p) for p in state[k]} for k in ("prompts", "watch_prompts"))
    assert len(watched) == 4 and not shown & watched


@pytest.mark.parametrize("best", [None, "win_rate"])
def test_a_resumed_run_looks_the_same(recipe, few_words, best, tmp_path):
    recipe["evaluate"] |= {"annotator": few_words, "sample_steps": 2, "best": best}
    whole = train_run(recipe | {"output_dir": str(tmp_path / "whole")})
    cut = tmp_path / "run"
    shutil.copytree(whole, cut)
    # as a kill after step 5 leaves it: the last checkpoint is of step 4
    shutil.rmtree(cut / "checkpoints" / "step-00000006")
    for name in ("evaluation.json", "samples.jsonl", "report.html"):
        (cut / name).unlink()
    shutil.rmtree(cut / "model")
    resumed = train_run(recipe | {"output_dir": str(cut)}, resume=True)
    for name in ("metrics.jsonl", "evaluation.json", "samples.jsonl"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes(), name
    ours, theirs = weights(resumed), weights(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_keys_that_do_not_go_together(recipe, few_words):
    for change, message in (
        ({"best": "win_rate"}, "best: needs someone who judges"),
        ({"best": "win_rate", "annotator": few_words}, "best: needs someone who judges"),
        ({"max_kl": 1.0}, "max_kl: limits"),
        ({"sample_steps": 2, "sample_prompts": 0}, "sample_steps: samples a policy"),
        ({"best": "reward", "annotator": few_words, "sample_steps": 2}, "gives no reward of one"),
    ):
        with pytest.raises(RecipeError, match=message):
            train_run(recipe | {"evaluate": recipe["evaluate"] | change})


@pytest.mark.slow
def test_the_best_by_the_reward_of_a_model(recipe, pairs, tmp_path, monkeypatch):
    """From rows to an aligned model that a reward model of one's own has judged, all here."""
    judged = recipe | {
        "name": "rm", "output_dir": str(tmp_path / "rm"), "objective": "bradley_terry",
        "model": recipe["model"] | {"kind": "reward"}, "evaluate": {"sample_prompts": 0},
    }  # fmt: skip
    rm = train_run(judged)
    recipe["evaluate"] |= {
        "annotator": str(rm), "sample_steps": 2, "best": "reward", "max_kl": 50.0,
    }  # fmt: skip
    folder = train_run(recipe)
    rows = sampled(folder)
    best = json.loads((folder / "evaluation.json").read_text())["best"]
    assert best["value"] == max(row["samples/reward"] for row in rows)
    report = (folder / "report.html").read_text()
    assert "Reward of samples" in report and "sampled step" in report
    prompts = [json.loads(line)["prompt"] for line in pairs.read_text().splitlines()]
    for step in ("before", "after"):
        lines = (folder / "samples.jsonl").read_text().splitlines()
        texts = [
            {"prompt": next(p for p in prompts if p in row["prompt"]), "response": row[step]}
            for row in map(json.loads, lines)
        ]
        Path(tmp_path / f"{step}.jsonl").write_text("\n".join(json.dumps(t) for t in texts))
    # the same responses by `luce judge` and `luce eval win-rate` come to the same win rate
    monkeypatch.chdir(tmp_path)
    assert run(["judge", "after.jsonl", "before.jsonl", "--reward", str(rm)]) == 0
    found = json.loads((folder / "evaluation.json").read_text())
    told = win_rate_command([tmp_path / "verdicts.jsonl"], refits=0)
    assert told.rates[0].rate.value == pytest.approx(found["win_rate"]["value"])
    assert told.length_controlled is not None
    assert 0 < found["length_controlled"]["value"] < 1
