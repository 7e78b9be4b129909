"""Costs of the whole batch: the same gradient however the step is cut, dropout and columns too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from luce.errors import DataError
from luce.objectives.build import make_objective
from luce.train.batch import collate
from luce.train.distributed import World
from luce.train.global_batch import gather_batch
from luce.train.order import rows_of_step, visits_of_step
from luce.train.settings import TrainSettings
from luce.train.trainer import NonFiniteStep, Trainer
from luce.types import Group, Pairs, Responses

from .conftest import TableLearner, make_groups

BATCH_WIDE = ("aot", "aot_unpaired", "dr_dpo", "beta_dpo", "alpha_dpo")
SETTINGS = TrainSettings(learning_rate=0.05, batch_size=6, epochs=2.0, warmup_ratio=0.2, seed=3)


class ColumnLearner(TableLearner):
    """The table with a column that carries a gradient, and dropout where it is asked for."""

    def __init__(self, dropout: float = 0.0):
        super().__init__(torch.float64)
        self.dropout = dropout
        self.drawn: list[Tensor] = []

    def log_table(self) -> Tensor:
        dropped = nn.functional.dropout(self.table, self.dropout, torch.is_grad_enabled())
        self.drawn.append(dropped.detach() == 0)
        return (self.gain * dropped).log_softmax(-1)

    def respond(self, groups: Sequence[Group]) -> Responses:
        found = super().respond(groups)
        return replace(found, columns={"kl": found.policy.exp() * self.gain})


@dataclass(frozen=True)
class Coupled:
    """exp of a pair's margin against the batch's, with a column: nothing adds up over groups."""

    structure = "pair"
    scope = "batch"
    needs = frozenset({"reference", "kl"})
    needs_reference = True
    name = "coupled"
    formula = "e^(z − mean z)"
    parameters: Mapping[str, Any] = ()  # type: ignore[assignment]

    def __call__(self, batch: Pairs) -> Tensor:
        z = batch.chosen.log_prob - batch.rejected.log_prob
        column = batch.chosen.columns["kl"]
        return (0.1 * (z - z.mean())).exp() * column.square().sum()

    def weight(self, batch: Pairs) -> Tensor:
        return torch.ones_like(batch.chosen.length)

    def metrics(self, batch: Pairs) -> Mapping[str, Tensor]:
        return {"rewards/margins": (batch.chosen.log_prob - batch.rejected.log_prob).detach()}

    def statistics(self, batch: Pairs) -> Mapping[str, Tensor]:
        return {}


def run(groups, objective, learner=None, **changes):
    learner = learner or TableLearner(torch.float64)
    cost = make_objective(objective, {}) if isinstance(objective, str) else objective
    trainer = Trainer(learner, cost, groups, replace(SETTINGS, **changes))
    return learner, list(trainer.steps()), trainer


def numbers(record: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in record.items() if name != "split"}


@pytest.mark.parametrize("objective", BATCH_WIDE)
def test_the_cut_into_micro_batches_changes_nothing(objective):
    groups = make_groups(23)
    whole, one, a = run(groups, objective, max_tokens_per_batch=10_000)
    for budget in (1, 25):
        pieces, many, b = run(groups, objective, max_tokens_per_batch=budget)
        torch.testing.assert_close(whole.table, pieces.table, rtol=1e-12, atol=1e-12)
        for x, y in zip(one, many, strict=True):
            assert numbers(x) == pytest.approx(numbers(y), rel=1e-9)
        assert a.running.values() == pytest.approx(b.running.values(), rel=1e-9)
        x, y = (numbers(t.evaluate(groups)) for t in (a, b))
        assert x == pytest.approx(y, rel=1e-9)
    assert pieces.calls > 1.5 * whole.calls


def test_one_micro_batch_takes_one_pass_and_several_take_two():
    groups = make_groups(6)
    whole, _, _ = run(groups, "dr_dpo", epochs=1.0, max_tokens_per_batch=10_000)
    pieces, _, _ = run(groups, "dr_dpo", epochs=1.0, max_tokens_per_batch=1)
    assert (whole.calls, pieces.calls) == (1, 12)


@pytest.mark.parametrize("budget", [1, 40, 10_000])
def test_a_step_is_the_gradient_of_the_cost_of_all_rows_in_their_order(budget):
    """Through log-probabilities and columns alike, against autograd on the batch as a whole."""
    groups = make_groups(6)
    learner, expected = ColumnLearner(), ColumnLearner()
    changes = replace(SETTINGS, max_grad_norm=1e9, epochs=1.0, max_tokens_per_batch=budget)
    trainer = Trainer(learner, Coupled(), groups, changes)
    order = [groups[i] for i in rows_of_step(6, 6, SETTINGS.seed, 0, 6)]
    loss = Coupled()(collate(expected.respond(order), order, "pair")).mean()
    loss.backward()
    record = next(trainer.steps())
    torch.testing.assert_close(learner.table.grad, expected.table.grad, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(learner.gain.grad, expected.gain.grad, rtol=1e-12, atol=1e-14)
    assert record["loss"] == pytest.approx(float(loss.detach()), rel=1e-12)


def test_the_order_of_the_batch_is_that_of_the_steps_rows():
    """An objective that looks at its neighbours sees the same ones whatever the cut."""

    class Neighbours(Coupled):
        def __call__(self, batch: Pairs) -> Tensor:
            z = batch.chosen.log_prob - batch.rejected.log_prob
            return (0.1 * (z - 2 * z.roll(1))).exp()

    groups = make_groups(17)
    found = [
        run(groups, Neighbours(), max_tokens_per_batch=budget)[0].table for budget in (1, 9_999)
    ]
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


class Told(Exception):
    """What a rank would send to the others."""


@dataclass(frozen=True)
class Rank(World):
    """One of several ranks in a single process: it knows what the others sent, or tells its own."""

    others: Mapping[int, Any] = field(default_factory=dict)

    def gather(self, value: Any) -> list[Any]:
        if len(self.others) < self.size - 1:
            raise Told(value)
        return [value if rank == self.rank else self.others[rank] for rank in range(self.size)]


@pytest.mark.parametrize("size", [2, 3, 7])
def test_ranks_see_the_same_batch_and_their_gradients_add_up(size):
    """Columns included; with more ranks than rows some have nothing."""
    groups = make_groups(5)
    alone = ColumnLearner()
    whole = gather_batch(alone, groups, World(), 10_000)
    cost = Coupled()(collate(whole.responses, groups, "pair"))
    whole.backward(alone, cost.sum())
    told = {}
    for rank in range(size):
        with pytest.raises(Told) as caught:
            gather_batch(ColumnLearner(), groups, Rank(rank, size), 12)
        (told[rank],) = caught.value.args
    learner = ColumnLearner()
    for rank in range(size):
        others = {other: share for other, share in told.items() if other != rank}
        batch = gather_batch(learner, groups, Rank(rank, size, others=others), 12)
        for name in ("policy", "lengths", "reference"):
            assert torch.equal(getattr(batch.responses, name), getattr(whole.responses, name))
        assert torch.equal(batch.responses.columns["kl"], whole.responses.columns["kl"])
        total = Coupled()(collate(batch.responses, groups, "pair")).sum()
        batch.backward(learner, total)
    torch.testing.assert_close(learner.table.grad, alone.table.grad, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(learner.gain.grad, alone.gain.grad, rtol=1e-12, atol=1e-14)


def test_the_second_pass_draws_the_dropout_masks_of_the_first():
    groups = make_groups(6)
    learner = ColumnLearner(dropout=0.5)
    trainer = Trainer(learner, Coupled(), groups, replace(SETTINGS, max_tokens_per_batch=1))
    next(trainer.steps())
    first, second = learner.drawn[:6], learner.drawn[6:]
    assert len(second) == 6
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(torch.equal(first[0], mask) for mask in first)
    learner.drawn.clear()
    trainer.evaluate(groups)
    assert not any(mask.any() for mask in learner.drawn)


@pytest.mark.parametrize("objective", BATCH_WIDE)
def test_evaluation_takes_batches_of_the_training_size_in_order(objective):
    groups = make_groups(15)
    learner = TableLearner(torch.float64)
    cost = make_objective(objective, {})
    trainer = Trainer(learner, cost, groups, replace(SETTINGS, max_tokens_per_batch=30))
    costs, margins = [], []
    for chunk in (groups[:6], groups[6:12], groups[12:]):
        batch = collate(learner.respond(chunk), chunk, "pair")
        costs += cost(batch).tolist()
        margins += cost.metrics(batch)["rewards/margins"].tolist()
    record = trainer.evaluate(groups)
    assert record["eval_loss"] == pytest.approx(sum(costs) / 15, rel=1e-12) and record["n"] == 15
    assert trainer.per_group(groups)["rewards/margins"] == pytest.approx(margins, rel=1e-12)


@pytest.mark.parametrize("objective", ["beta_dpo", "bco"])
def test_a_restored_trainer_goes_on_with_the_same_bits(objective):
    """Running statistics included."""
    groups = make_groups(23)
    cost = make_objective(objective, {})
    changes = replace(SETTINGS, max_tokens_per_batch=30)

    def fresh(seed: int = 0) -> Trainer:
        return Trainer(TableLearner(seed=seed), cost, groups, changes)

    whole = fresh()
    records = list(whole.steps())
    assert whole.running.values()
    first = fresh()
    steps = first.steps()
    head = [next(steps) for _ in range(3)]
    tensors, values = first.state()
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    second = fresh(seed=9)
    second.restore(tensors, values)
    assert head + list(second.steps()) == records
    assert torch.equal(second.learner.table, whole.learner.table)


def test_weights_have_no_meaning_in_a_cost_of_the_whole_batch():
    groups = make_groups(4)
    groups[2] = replace(groups[2], weight=2.0)
    with pytest.raises(DataError, match="toy.jsonl:3: weight 2, but 'dr_dpo' is a cost of the"):
        run(groups, "dr_dpo")
    _, _, trainer = run(make_groups(4), "dr_dpo")
    with pytest.raises(DataError, match="weight 2"):
        trainer.evaluate(groups)


def test_a_bad_row_is_named_though_it_spoils_the_cost_of_all():
    groups = make_groups(6)
    learner = TableLearner(torch.float64)
    respond = learner.respond

    def poisoned(part):
        found = respond(part)
        bad = torch.tensor([g.id == "g4" for g in part for _ in g.branches])
        policy = found.policy.masked_fill(torch.repeat_interleave(bad, found.lengths), torch.nan)
        return replace(found, policy=policy)

    learner.respond = poisoned
    before = learner.table.detach().clone()
    with pytest.raises(NonFiniteStep, match="toy.jsonl:5: this row costs nan at step 1") as caught:
        run(groups, "dr_dpo", learner, max_tokens_per_batch=1)
    assert [b.group.id for b in caught.value.bad] == ["g4"]
    assert torch.equal(learner.table, before)


@pytest.mark.parametrize("objective", ["sampo", "beta_dpo"])
def test_seeded_draws_are_new_at_every_visit_and_the_same_however_the_step_is_cut(objective):
    groups = make_groups(7)
    seen: dict[int, list[tuple[str, int]]] = {}

    def watched(budget: int) -> TableLearner:
        cost = make_objective(objective, {})
        learner = TableLearner(torch.float64)
        changes = replace(SETTINGS, batch_size=5, epochs=3.0, max_tokens_per_batch=budget)
        trainer = Trainer(learner, cost, groups, changes)
        plain, seen[budget] = learner.respond, []

        def respond(part: Sequence[Group]) -> Responses:
            seen[budget] += [(g.id, g.key) for g in part]
            return plain(part)

        learner.respond = respond  # type: ignore[method-assign]
        list(trainer.steps())
        return learner

    torch.testing.assert_close(watched(1).table, watched(9_999).table, rtol=1e-12, atol=1e-12)
    assert set(seen[1]) == set(seen[9_999])
    assert len(set(seen[1])) == 21 and len({key for _, key in seen[1]}) == 21


def test_visits_count_how_often_a_row_was_seen():
    found = {}
    for step in range(5):
        rows, visits = rows_of_step(7, 3, 1, step, 15), visits_of_step(7, 3, step, 15)
        for row, visit in zip(rows, visits, strict=True):
            found.setdefault(row, []).append(visit)
    assert all(visits == list(range(len(visits))) for visits in found.values())
    assert sum(map(len, found.values())) == 15
