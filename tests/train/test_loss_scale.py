"""Float16 gradients: scaled so that small ones live, and made again where large ones overflow."""

import json
import math

import numpy as np
import pytest
import torch

from luce.objectives.build import make_objective
from luce.train.loss_scale import FIRST, FLOOR, PATIENCE, LossScale
from luce.train.nonfinite import NonFiniteStep
from luce.train.settings import TrainSettings
from luce.train.trainer import Trainer
from luce.types import Responses

from .conftest import TableLearner, make_groups

SETTINGS = TrainSettings(learning_rate=0.01, batch_size=4, max_steps=6, seed=3)


class HalfLearner(TableLearner):
    """Its gradients pass through float16 on their way to float32 weights, a factor down.

    Args:
        down: gradients are so many times smaller on the way.
    """

    def __init__(self, down: float = 1.0, half: bool = True):
        super().__init__()
        self.down, self.half = down, half

    def respond(self, groups) -> Responses:
        found = super().respond(groups)
        if found.policy.requires_grad and self.half:
            down = self.down

            def through(gradient):
                return (gradient / down).half().float() * down

            found.policy.register_hook(through)
        return found


def trainer(learner, scale=None, objective="dpo", **changes) -> Trainer:
    settings = TrainSettings(**{**SETTINGS.__dict__, **changes})
    cost = make_objective(objective, {})
    return Trainer(learner, cost, make_groups(23), settings, loss_scale=scale)


def test_the_scale_halves_to_its_floor_and_doubles_after_patience():
    scale = LossScale(4.0)
    assert scale.halve() and scale.scale == 2.0
    assert scale.halve() and scale.scale == FLOOR == 1.0
    assert not scale.halve() and scale.scale == 1.0
    for _ in range(PATIENCE - 1):
        scale.hold()
    assert scale.scale == 1.0
    again = LossScale()
    again.restore(json.loads(json.dumps(scale.state())))
    for one in (scale, again):
        one.hold()
        assert one.scale == 2.0
        one.hold()
        one.halve()  # the count begins anew
        assert one.state() == {"scale": 1.0, "held": 0}


@pytest.mark.parametrize("objective", ["dpo", "dr_dpo"])
def test_gradients_too_small_for_float16_live(objective):
    """Of gradients around 1e-9 float16 holds nothing; scaled by 65536 it does."""
    exact = list(trainer(HalfLearner(half=False), objective=objective).steps())
    lost = list(trainer(HalfLearner(1e8), objective=objective).steps())
    kept = list(trainer(HalfLearner(1e8), LossScale(), objective=objective).steps())
    assert all(record["grad_norm"] == 0 for record in lost)
    for one, other in zip(exact, kept, strict=True):
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=0.01)
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-3)
        assert (other["loss_scale"], other["loss_scale/overflows"]) == (FIRST, 0.0)
    assert "loss_scale" not in exact[0]


def test_a_step_that_overflows_is_made_again_and_no_row_is_passed_over():
    learner = HalfLearner(1e-3)
    records = list(trainer(learner, LossScale()).steps())
    exact = list(trainer(HalfLearner(half=False)).steps())
    assert records[0]["loss_scale/overflows"] >= 1
    assert records[0]["loss_scale"] == FIRST / 2 ** records[0]["loss_scale/overflows"]
    assert [r["step"] for r in records] == [1, 2, 3, 4, 5, 6]
    for one, other in zip(exact, records, strict=True):
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=0.01)
        assert math.isclose(other["loss"], one["loss"], rel_tol=1e-3)


def test_what_overflows_at_the_floor_is_an_error_with_its_remedy():
    learner = HalfLearner(1e-9)
    before = learner.table.detach().clone()
    with pytest.raises(NonFiniteStep, match="at the lowest loss scale .1.*Set train.bf16") as seen:
        list(trainer(learner, LossScale()).steps())
    assert torch.equal(learner.table, before) and seen.value.bad


def test_a_resumed_run_scales_the_same():
    whole = list(trainer(HalfLearner(1e-3), LossScale()).steps())
    first = trainer(HalfLearner(1e-3), LossScale())
    steps = first.steps()
    head = [next(steps) for _ in range(3)]
    tensors, values = first.state()
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    second = trainer(HalfLearner(1e-3), LossScale())
    second.restore(tensors, json.loads(json.dumps(values)))
    assert head + list(second.steps()) == whole


def test_a_float16_network_with_an_adapter_learns(tiny_model_dir):
    """Its frozen weights are float16, through which the gradients of float32 ones pass."""
    from luce.models.load import LoraSettings
    from luce.models.policy import load_policy
    from luce.train.learners import PolicyLearner
    from luce.types import Branch, Group, Place

    draw = np.random.default_rng(0)

    def branch() -> Branch:
        return Branch(draw.integers(5, 60, 8).astype(np.int32), np.ones(8, dtype=bool))

    prompt = np.array([5, 6, 7], dtype=np.int32)
    groups = [Group(prompt, (branch(), branch()), f"g{i}", Place("a", i + 1)) for i in range(4)]
    found = {}
    for dtype in ("float32", "float16"):
        policy = load_policy(
            str(tiny_model_dir), dtype=dtype, lora=LoraSettings(r=4, alpha=8.0), seed=1
        )
        assert {p.dtype for p in policy.trainable().values()} == {torch.float32}
        cost = make_objective("cpo", {})
        scale = LossScale() if dtype == "float16" else None
        one = Trainer(PolicyLearner(policy, None), cost, groups, SETTINGS, loss_scale=scale)
        found[dtype] = list(one.steps())
    for exact, half in zip(found["float32"], found["float16"], strict=True):
        assert half["grad_norm"] == pytest.approx(exact["grad_norm"], rel=0.05)
        assert half["loss"] == pytest.approx(exact["loss"], rel=0.01)
