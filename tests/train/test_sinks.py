"""What the console and trackers are told."""

import io
import sys
from types import ModuleType

import pytest
from rich.console import Console

from luce.errors import RecipeError
from luce.train.sinks import ConsoleSink, tracker

TRAIN = {"split": "train", "step": 2, "loss": 0.5, "rewards/accuracies": 0.75, "grad_norm": 1.0}
EVAL = {
    "split": "eval",
    "step": 2,
    "n": 40,
    "eval_loss": 0.6,
    "eval_rewards/accuracies": 0.7,
    "eval_rewards/accuracies_low": 0.55,
    "eval_rewards/accuracies_high": 0.82,
}


def test_piped_output_gets_lines_with_intervals_and_no_color():
    out = io.StringIO()
    sink = ConsoleSink(2, console=Console(file=out, width=200))
    for record in (TRAIN, EVAL, {"split": "note", "note": "Resumed at step 1."}):
        sink.write(record)
    sink.close()
    assert out.getvalue().splitlines() == [
        "step 2/2: loss 0.5  accuracies 0.75  grad_norm 1",
        "step 2: held out loss 0.6000, accuracy 0.700 [0.550, 0.820] (n = 40)",
        "Resumed at step 1.",
    ]


def test_a_step_whose_gradient_is_far_off_is_told():
    out = io.StringIO()
    sink = ConsoleSink(100, console=Console(file=out, width=200))
    sink.write(TRAIN | {"grad_norm": 23.456, "grad_norm/typical": 1.2})
    sink.close()
    assert out.getvalue().splitlines() == [
        "warning: step 2: the gradient's norm is 23.5, where 1.2 was typical of the steps before."
    ]


def test_a_tracker_gets_the_numbers_of_every_kth_step_and_of_every_evaluation(
    monkeypatch, tmp_path
):
    logged = []
    fake = ModuleType("trackio")
    fake.init = lambda **keywords: logged.append(keywords)
    fake.log = lambda values, step: logged.append((values, step))
    fake.finish = lambda: logged.append("finished")
    monkeypatch.setitem(sys.modules, "trackio", fake)
    sink = tracker("trackio", "mine", tmp_path, every=2)
    for record in (TRAIN | {"step": 1}, TRAIN, EVAL):
        sink.write(record)
    sink.close()
    assert logged[0] == {"project": "luce", "name": "mine"} and logged[-1] == "finished"
    assert [step for _, step in logged[1:-1]] == [2, 2]
    assert logged[1][0] == {"loss": 0.5, "rewards/accuracies": 0.75, "grad_norm": 1.0}


def test_no_tracker_is_none_and_an_unknown_or_missing_one_is_named(monkeypatch, tmp_path):
    assert tracker("none", "x", tmp_path, 1) is None
    with pytest.raises(RecipeError, match="train.report_to: no 'trakio'. Did you mean 'trackio'"):
        tracker("trakio", "x", tmp_path, 1)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(RecipeError, match="wandb is not installed"):
        tracker("wandb", "x", tmp_path, 1)
