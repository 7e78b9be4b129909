"""Steps whose gradient is unlike those before are told, and a resumed run tells the same."""

import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from luce.objectives.build import make_objective
from luce.train.anomalies import DEVIATIONS, LEAST, MEMORY, RecentNorms
from luce.train.settings import TrainSettings
from luce.train.sinks import anomaly_text
from luce.train.trainer import Trainer

from .conftest import TableLearner, make_groups

SETTINGS = TrainSettings(learning_rate=0.01, batch_size=4, max_steps=30, seed=3)


def far(norms: list[float]) -> list[tuple[int, float]]:
    """Number and typical norm of the steps that are told."""
    recent = RecentNorms()
    found = [(i, recent.take(norm)) for i, norm in enumerate(norms)]
    return [(i, typical) for i, typical in found if typical is not None]


def test_a_norm_is_far_where_deviations_and_ratio_both_say_so():
    calm = [1.0, 1.2, 0.8, 1.1, 0.9] * 4
    assert far([*calm, 9.9]) == []  # not tenfold
    assert far([*calm, 10.1]) == [(20, 1.0)]
    assert far([*calm, 0.011]) == [] and far([*calm, 0.009]) == [(20, 1.0)]
    # log-norms 0 and ±2, four in five beyond the median: MAD 2, so that 10 is 0.78 deviations off
    wild = [math.exp(x) for x in (0.0, 2.0, -2.0, 2.0, -2.0)] * 4
    assert far([*wild, 10.1]) == []
    bound = math.exp(DEVIATIONS * 1.4826 * 2)
    assert far([*wild, bound * 1.01]) == [(20, 1.0)] and far([*wild, bound * 0.99]) == []


def test_the_first_steps_and_what_is_long_gone_say_nothing():
    assert far([1.0] * (LEAST - 1) + [100.0]) == [] and far([1.0] * LEAST + [100.0]) != []
    jump = far([1.0] * 100 + [50.0] * 100)
    # the median follows once half of the memory is of the new kind
    assert [i for i, _ in jump] == list(range(100, 100 + MEMORY // 2))


def test_a_run_without_gradients_has_no_typical_norm():
    assert far([0.0] * 40 + [1.0]) == []
    assert far([1.0] * 40 + [0.0]) == [(40, 1.0)]


@given(st.integers(0, 1000), st.floats(-3, 3), st.floats(0.05, 0.35))
def test_normal_noise_of_log_norms_is_never_told(seed, level, spread):
    draw = random.Random(seed)
    assert far([math.exp(level + spread * draw.gauss(0, 1)) for _ in range(150)]) == []


@given(st.lists(st.floats(1e-3, 1e3), min_size=LEAST, max_size=80), st.integers(-20, 20))
def test_the_unit_of_the_gradient_does_not_matter(norms, power):
    unit = 2.0**power
    assert [i for i, _ in far(norms)] == [i for i, _ in far([unit * norm for norm in norms])]


class Spiked(TableLearner):
    """Its gradient is a hundred times too large in one step."""

    def __init__(self, at: int):
        super().__init__()
        self.at = at

    def respond(self, groups):
        found = super().respond(groups)
        if found.policy.requires_grad and self.calls == self.at:
            found.policy.register_hook(lambda gradient: 100 * gradient)
        return found


def trainer(at: int = 0, **changes) -> Trainer:
    settings = TrainSettings(**{**SETTINGS.__dict__, **changes})
    return Trainer(Spiked(at), make_objective("dpo", {}), make_groups(23), settings)


def told(records) -> list[int]:
    return [r["step"] for r in records if "grad_norm/typical" in r]


def test_a_spike_is_told_with_its_step_and_the_typical_norm():
    assert told(trainer().steps()) == []
    (record,) = [r for r in trainer(at=25).steps() if "grad_norm/typical" in r]
    assert record["step"] == 25
    assert record["grad_norm"] > 10 * record["grad_norm/typical"] > 0
    said = anomaly_text(record)
    assert said is not None and said.startswith("step 25: the gradient's norm is ")
    assert anomaly_text({"split": "train", "step": 1, "grad_norm": 1.0}) is None


def test_clipped_steps_are_told():
    records = list(trainer().steps())
    limit = sorted(r["grad_norm"] for r in records)[10]
    again = list(trainer(max_grad_norm=limit).steps())
    assert {r["grad_norm/clipped"] for r in again} == {0.0, 1.0}
    assert all(r["grad_norm/clipped"] == float(r["grad_norm"] > limit) for r in again)


@pytest.mark.parametrize("stop", [10, 24, 25])
def test_a_resumed_run_tells_the_same(stop):
    whole = list(trainer(at=25).steps())
    first = trainer(at=25)
    steps = first.steps()
    head = [next(steps) for _ in range(stop)]
    tensors, values = first.state()
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    second = trainer(at=25 - stop if stop < 25 else 0)
    second.restore(tensors, values)
    tail = list(second.steps())
    assert head + tail == whole and told(head + tail) == [25]
    assert torch.equal(second.parameters["table"], second.learner.trainable()["table"])
