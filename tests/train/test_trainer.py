"""What the loop must keep: the same gradient however a step is cut, the same bits after a kill."""

import math

import pytest
import torch

from luce.errors import DataError, RecipeError
from luce.objectives.build import make_objective
from luce.train.settings import TrainSettings
from luce.train.trainer import NonFiniteStep, Running, Trainer

from .conftest import TableLearner, make_groups

SETTINGS = TrainSettings(learning_rate=0.05, batch_size=4, epochs=2.0, warmup_ratio=0.2, seed=3)


def run(groups, objective="dpo", dtype=torch.float64, **changes):
    learner = TableLearner(dtype)
    trainer = Trainer(learner, make_objective(objective, {}), groups, _with(**changes))
    return learner, list(trainer.steps()), trainer


def _with(**changes):
    return TrainSettings(**{**SETTINGS.__dict__, **changes})


@pytest.mark.parametrize(
    ("objective", "responses"),
    [("dpo", 2), ("simpo", 2), ("kto", 2), ("sft", 1), ("plackett_luce", 4), ("rrhf", 3)],
)
def test_the_cut_into_micro_batches_changes_nothing(objective, responses):
    groups = make_groups(23, responses)
    whole, one, _ = run(groups, objective, max_tokens_per_batch=10_000)
    pieces, many, _ = run(groups, objective, max_tokens_per_batch=1)
    torch.testing.assert_close(whole.table, pieces.table, rtol=1e-12, atol=1e-12)
    for a, b in zip(one, many, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-12)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-9)
    assert pieces.calls > whole.calls


def test_a_step_is_the_gradient_of_the_weighted_mean_over_its_rows():
    groups = make_groups(4)
    groups = [
        type(g)(**{**g.__dict__, "weight": w})
        for g, w in zip(groups, (1.0, 2.0, 3.0, 4.0), strict=True)
    ]
    learner = TableLearner(torch.float64)
    objective = make_objective("dpo", {})
    trainer = Trainer(learner, objective, groups, _with(max_grad_norm=1e9, epochs=1.0))
    expected = TableLearner(torch.float64)
    costs = torch.cat([_cost_of(expected, objective, g) for g in groups])
    weights = torch.tensor([1.0, 2, 3, 4], dtype=torch.float64)
    loss = (costs * weights).sum() / 10
    loss.backward()
    record = next(trainer.steps())
    torch.testing.assert_close(learner.table.grad, expected.table.grad)
    assert record["loss"] == pytest.approx(float(loss.detach()))


def _cost_of(learner, objective, group):
    from luce.train.batch import collate

    return objective(collate(learner.respond([group]), [group], objective.structure))


def test_sft_is_the_mean_over_tokens_not_over_rows():
    groups = make_groups(4, responses=1)
    learner = TableLearner(torch.float64)
    responses = TableLearner(torch.float64).respond(groups)
    expected = -float(responses.policy.detach().mean())
    trainer = Trainer(learner, make_objective("sft", {}), groups, _with(epochs=1.0))
    assert next(trainer.steps())["loss"] == pytest.approx(expected)


def test_training_lowers_the_loss_and_raises_the_accuracy(groups):
    learner = TableLearner()
    trainer = Trainer(learner, make_objective("dpo", {"beta": 1.0}), groups, _with(epochs=40.0))
    before = trainer.evaluate(groups)
    records = list(trainer.steps())
    after = trainer.evaluate(groups)
    assert after["eval_loss"] < before["eval_loss"]
    assert after["eval_rewards/accuracies"] > before["eval_rewards/accuracies"]
    assert after["n"] == 23 and len(records) == math.ceil(23 * 40 / 4)
    assert after["eval_rewards/accuracies_low"] < after["eval_rewards/accuracies"]


def test_a_restored_trainer_goes_on_with_the_same_bits(groups):
    _, records, whole = run(groups, dtype=torch.float32)
    first = Trainer(TableLearner(), make_objective("dpo", {}), groups, SETTINGS)
    steps = first.steps()
    head = [next(steps) for _ in range(5)]
    tensors, values = first.state()
    tensors = {k: v.clone() for k, v in tensors.items()}
    second = Trainer(TableLearner(seed=9), make_objective("dpo", {}), groups, SETTINGS)
    second.restore(tensors, values)
    assert head + list(second.steps()) == records
    assert torch.equal(second.learner.table, whole.learner.table)


def test_a_cost_that_is_not_finite_stops_before_the_weights_and_names_the_row(groups):
    learner = TableLearner()
    trainer = Trainer(learner, make_objective("dpo", {}), groups, SETTINGS)
    steps = trainer.steps()
    next(steps)
    before = learner.table.detach().clone()
    respond = learner.respond

    def poisoned(part):
        responses = respond(part)
        policy = responses.policy.clone()
        policy[0] = math.nan
        return type(responses)(policy, responses.lengths, responses.reference)

    learner.respond = poisoned
    with pytest.raises(
        NonFiniteStep, match=r"toy.jsonl:\d+: this row costs nan at step 2"
    ) as caught:
        next(steps)
    assert torch.equal(learner.table, before)
    assert caught.value.bad[0].group.place.file == "toy.jsonl"


def test_a_gradient_that_is_not_finite_stops_before_the_weights(groups):
    learner = TableLearner()
    trainer = Trainer(learner, make_objective("dpo", {}), groups, SETTINGS)
    learner.table.register_hook(lambda g: g * math.inf)
    before = learner.table.detach().clone()
    with pytest.raises(NonFiniteStep, match="the gradient of 'table' is not finite"):
        next(trainer.steps())
    assert torch.equal(learner.table, before)


def test_finite_gradients_whose_norm_overflows_stop_before_the_weights(groups):
    learner = TableLearner()
    trainer = Trainer(learner, make_objective("dpo", {}), groups, SETTINGS)
    learner.table.register_hook(lambda g: g * 1e38)
    before = learner.table.detach().clone()
    with pytest.raises(NonFiniteStep, match="step 1: the gradient overflows"):
        next(trainer.steps())
    assert torch.equal(learner.table, before)


def test_no_rows_and_wrong_structures_are_named():
    with pytest.raises(DataError, match="0 are left"):
        Trainer(TableLearner(), make_objective("dpo", {}), [], SETTINGS)
    with pytest.raises(DataError, match="toy.jsonl:1: 1 responses, but a 'pair' objective takes 2"):
        Trainer(TableLearner(), make_objective("dpo", {}), make_groups(2, 1), SETTINGS)


def test_running_means_forget_by_rows_not_by_batches():
    from luce.train.metrics import Means

    one, many = Running(), Running()
    for chunk in ([1.0] * 64, [3.0] * 64):
        together = Means()
        together.add_sum("kl", sum(chunk), len(chunk))
        one.observe(together)
        for start in range(0, 64, 8):
            part = Means()
            part.add_sum("kl", sum(chunk[start : start + 8]), 8)
            many.observe(part)
    assert one.values()["kl"] == pytest.approx(many.values()["kl"], rel=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 0.0}, "train.learning_rate: expected a number above 0"),
        ({"batch_size": 0}, "train.batch_size: expected 1 or more"),
        ({"warmup_ratio": 2.0}, "train.warmup_ratio: expected 0 to 1"),
    ],
)
def test_settings_out_of_range_are_named(change, message):
    with pytest.raises(RecipeError, match=message):
        TrainSettings(**change)


@pytest.mark.parametrize("kind", ["cosine", "linear", "constant"])
def test_the_rate_rises_to_its_peak_and_is_never_zero(kind):
    settings = TrainSettings(learning_rate=1.0, warmup_ratio=0.1, lr_scheduler_type=kind)
    rates = [settings.rate(i, 50) for i in range(50)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert min(rates) > 0 and max(rates) == 1.0
    assert all(a >= b for a, b in zip(rates[5:], rates[6:], strict=False))
