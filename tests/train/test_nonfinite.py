"""A step that would spoil the weights names the rows that are to blame, and writes them out."""

import json
import math

import pytest
import torch

from luce.objectives.build import make_objective
from luce.train.distributed import World
from luce.train.fit import fit
from luce.train.lines import RunFolder
from luce.train.nonfinite import Bad, NonFiniteStep, gradient_failure, row_by_row
from luce.train.settings import TrainSettings
from luce.train.trainer import Trainer
from luce.types import Responses

from .conftest import TableLearner, make_groups

SETTINGS = TrainSettings(learning_rate=0.01, batch_size=8, max_steps=3, seed=3)


class Overflowing(TableLearner):
    """Its log-probabilities are right, but the gradient of some groups' is multiplied."""

    def __init__(self, ids: set[str], times: float):
        super().__init__()
        self.ids, self.times = ids, times

    def respond(self, groups) -> Responses:
        found = super().respond(groups)
        if not found.policy.requires_grad:
            return found
        of = [group.id in self.ids for group in groups for _ in group.branches]
        times = torch.where(torch.tensor(of), self.times, 1.0).repeat_interleave(found.lengths)
        found.policy.register_hook(lambda gradient: gradient * times)
        return found


def failing(learner, objective="dpo", **changes):
    settings = TrainSettings(**{**SETTINGS.__dict__, **changes})
    return Trainer(learner, make_objective(objective, {}), make_groups(8), settings)


@pytest.mark.parametrize("objective", ["dpo", "dr_dpo"])
@pytest.mark.parametrize("budget", [10_000, 20])
def test_the_rows_whose_gradient_overflows_are_named_and_written_out(tmp_path, objective, budget):
    trainer = failing(Overflowing({"g2", "g5"}, math.inf), objective, max_tokens_per_batch=budget)
    before = {name: p.detach().clone() for name, p in trainer.parameters.items()}
    said = (
        r"step 1: the gradient of '\w+' is not finite .* toy.jsonl:\d: the gradient of this row "
        r"alone is not finite \(2 such rows in the batch\). No weight was changed; the rows are in "
        "nonfinite.jsonl. Lower learning_rate"
    )
    with pytest.raises(NonFiniteStep, match=said):
        list(fit(trainer, RunFolder(tmp_path), [], {}))
    rows = [json.loads(line) for line in (tmp_path / "nonfinite.jsonl").read_text().splitlines()]
    assert {(row["id"], row["line"], row["step"]) for row in rows} == {("g2", 3, 1), ("g5", 6, 1)}
    assert all(math.isfinite(float(row["cost"])) for row in rows)
    assert not any(math.isfinite(float(row["grad_norm"])) for row in rows)
    assert all(torch.equal(p, before[name]) for name, p in trainer.parameters.items())
    assert all(p.grad is None for p in trainer.parameters.values())


@pytest.mark.parametrize("objective", ["dpo", "dr_dpo"])
def test_the_gradient_of_a_row_is_its_own_share_of_the_step(objective):
    """Every row goes through a copy of the model: what its copy is given is its share."""
    groups = make_groups(8)
    trainer = failing(TableLearner(), objective)
    found = row_by_row(
        trainer.learner,
        groups,
        World(),
        0,
        lambda some, responses: trainer._cost(some, responses)[:2],
        together=objective == "dr_dpo",
    )
    copies = [TableLearner() for _ in groups]
    parts = [copy.respond([group]) for copy, group in zip(copies, groups, strict=True)]
    reference = torch.cat([part.reference_tokens for part in parts])
    policy, lengths = (torch.cat([getattr(p, x) for p in parts]) for x in ("policy", "lengths"))
    cost, weight, _ = trainer._cost(groups, Responses(policy, lengths, reference))
    (cost * weight).sum().backward()
    norms = {}
    for copy, group in zip(copies, groups, strict=True):
        shares = [p.grad.double() for p in (copy.gain, copy.table) if p.grad is not None]
        norms[group.id] = float(torch.cat([share.flatten() for share in shares]).norm())
    assert {one.group.id: one.gradient for one in found} == pytest.approx(norms, rel=1e-5)
    assert [one.cost for one in found] == pytest.approx(
        [cost.tolist()[[g.id for g in groups].index(one.group.id)] for one in found]
    )


def test_a_fault_that_does_not_come_again_names_the_largest_row():
    """Only the first pass is spoiled; what is looked at row by row is not."""
    learner = Overflowing({f"g{i}" for i in range(8)}, math.inf)
    respond = learner.respond

    def once(groups):
        found = respond(groups)
        learner.ids = set()
        return found

    learner.respond = once
    with pytest.raises(NonFiniteStep) as seen:
        list(failing(learner).steps())
    (bad,) = seen.value.bad
    assert f"the largest is that of {bad.group.place} (norm" in str(seen.value)
    norms = {}
    for group in make_groups(8):
        table = TableLearner()
        failing(table)._cost([group], table.respond([group]))[0].sum().backward()
        parts = [p.grad.double() for p in (table.gain, table.table) if p.grad is not None]
        norms[group.id] = float(torch.cat([part.flatten() for part in parts]).norm())
    assert bad.group.id == max(norms, key=lambda name: norms[name])
    assert bad.gradient == pytest.approx(norms[bad.group.id], rel=1e-5)


def test_rows_of_a_cost_have_no_gradient_norm():
    group = make_groups(1)[0]
    error = NonFiniteStep("x", [Bad(group, math.nan)])
    assert error.rows(7) == [{"file": "toy.jsonl", "line": 1, "id": "g0", "step": 7, "cost": "nan"}]
    found = gradient_failure(7, "x", [Bad(group, 1.0, math.inf), Bad(group, 2.0, 3.0)], "Stop.")
    assert [row["grad_norm"] for row in found.rows(7)] == ["inf"]
