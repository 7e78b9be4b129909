"""Runs that are sick on purpose, each with the illness that its report must name; and a healthy
one, of which it must name none."""

import json
import random

import pytest

from luce.annotate import luce_choice
from luce.data.worlds.gold import gold, total, words
from luce.data.worlds.tasks import Habits, Tasks, demonstrate
from luce.models.tiny import Shape, new_model_folder
from luce.recipe.run import train_run
from luce.report import load_run
from luce.report.words import cautions
from luce.types import Comparison


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def judged(reward, n=2600, seed=1):
    """Pairs of demonstrations, judged by who has this reward (prompt, response); two rewards take
    turns by chance."""
    prompts, draw = Tasks(0).prompts(n), random.Random(seed)
    first, second = (demonstrate(prompts, Habits(), seed + k) for k in (0, 1000))
    rewards = reward if isinstance(reward, tuple) else (reward,)
    annotators = [luce_choice(lambda p, rs, r=r: [r(p, one) for one in rs]) for r in rewards]
    rows = []
    for prompt, a, b in zip(prompts, first, second, strict=True):
        if a == b:
            continue
        (p,) = draw.choice(annotators)([Comparison(prompt, a, b)])
        chosen, rejected = (a, b) if draw.random() < p else (b, a)
        rows.append({"prompt": prompt, "chosen": chosen, "rejected": rejected})
    return rows


def good(prompt, response):
    return 4 * total(prompt, [response])[0]


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A small language model that has read demonstrations."""
    folder = tmp_path_factory.mktemp("start")
    prompts = Tasks(1).prompts(5000)
    shown = demonstrate(prompts, Habits(), 5)
    corpus = (f"Human: {p}\n\nAssistant: {r}" for p, r in zip(prompts, shown, strict=True))
    shape = Shape(hidden=64, layers=2, heads=4, max_positions=192)
    new_model_folder(folder / "new", corpus, vocab_size=768, shape=shape, seed=0)
    rows = [{"prompt": p, "completion": r} for p, r in zip(prompts, shown, strict=True)]
    return train_run(
        {
            "name": "sft",
            "output_dir": str(folder / "sft"),
            "model": str(folder / "new"),
            "data": {"path": write(folder / "demonstrations.jsonl", rows), "max_length": 192},
            "objective": "sft",
            "reference": "none",
            "train": {"learning_rate": 2e-3, "batch_size": 32, "adam_beta2": 0.95},
            "evaluate": {"sample_prompts": 0},
        }
    )


@pytest.fixture
def run(start, tmp_path):
    def train(rows, beta=0.3, diagnose=None, evaluate=None, **settings):
        recipe = {
            "name": "run",
            "output_dir": str(tmp_path / "run"),
            "model": str(start / "model"),
            "data": {"path": write(tmp_path / "pairs.jsonl", rows), "eval": 0.2, "max_length": 192},
            "objective": {"dpo": {"beta": beta}},
            "train": {"learning_rate": 3e-4, "batch_size": 32, "warmup_ratio": 0.1, **settings},
            "evaluate": {"sample_prompts": 48, "max_new_tokens": 48, **(evaluate or {})},
        }
        if diagnose is not None:
            recipe["diagnose"] = diagnose
        return load_run(train_run(recipe))

    return train


def alarms(run):
    """The diagnostics that raise one."""
    found = run.evaluation["diagnostics"]
    return {name for name, e in found.items() if any(f["alarm"] for f in e["findings"])}


def said(run):
    return " ".join(c.what for c in cautions(run))


def test_a_healthy_run_raises_no_alarm(run):
    found = run(judged(good))
    assert alarms(found) == set()
    assert found.evaluation["held_out"]["accuracy_low"] > 0.6
    assert cautions(found) == []
    assert set(found.evaluation["diagnostics"]) == {
        "divergence", "displacement", "length", "calibration", "annotators", "saturation",
    }  # fmt: skip


@pytest.mark.slow
def test_too_large_a_learning_rate(run):
    found = run(judged(good, 1200), learning_rate=2e-2)
    assert {"divergence", "displacement"} <= alarms(found)
    assert "has gone far from its start" in said(found)
    assert "has left the data's good responses" in said(found)


@pytest.mark.slow
def test_an_annotator_who_likes_length(run):
    found = run(judged(lambda p, r: 2.0 * len(words(r))))
    assert "length" in alarms(found)
    assert "Nothing but length" in said(found)


@pytest.mark.slow
def test_two_tastes(run):
    short, long = (
        lambda p, r, sign=sign: 3 * gold(p, r).polite + sign * 0.8 * len(words(r))
        for sign in (-1, 1)
    )
    found = run(judged((short, long)))
    assert alarms(found) == {"annotators"}
    assert "two tastes" in said(found)
    numbers = found.evaluation["diagnostics"]["annotators"]
    assert 0.35 < numbers["share"] <= 0.5


def test_pairs_that_are_all_the_same(run):
    row = judged(good, 20)[0]
    prompts = Tasks(0).prompts(400)
    found = run([row | {"prompt": p} for p in prompts], learning_rate=2e-3, epochs=4.0)
    assert "saturation" in alarms(found)
    assert "give no gradient any more" in said(found)


@pytest.mark.slow
def test_a_proxy_that_is_optimized_too_far(run):
    rows = judged(lambda p, r: -3.0 * len(words(r)))
    found = run(
        rows,
        beta=0.03,
        learning_rate=1e-3,
        evaluate={
            "annotator": "luce.data.worlds.gold:total",
            "sample_steps": 13,
            "sample_prompts": 100,
        },
        eval_steps=13,
    )
    assert "over_optimization" in alarms(found)
    assert "the annotator no longer follows" in said(found)


def test_far_too_sure(run):
    found = run(judged(good, 300), learning_rate=1e-3, epochs=12.0, beta=1.0)
    assert "calibration" in alarms(found)
    assert "far too sure" in said(found) or "than under a coin" in said(found)


def test_what_is_not_asked_is_not_looked_for(run):
    found = run(judged(good, 300), diagnose=["saturation"], max_steps=2)
    assert set(found.evaluation["diagnostics"]) == {"saturation"}
    assert "log_ratio_chosen" not in found.pairs[0]


def test_nothing_is_looked_for(run):
    assert run(judged(good, 300), diagnose=[], max_steps=2).evaluation["diagnostics"] == {}
