"""Steps prepared in advance are the steps themselves, and numbers are read once a step."""

import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from luce.data.pack import micro_batches
from luce.errors import LuceError
from luce.objectives.build import make_objective
from luce.train.account import Account, tell
from luce.train.ahead import Ahead
from luce.train.distributed import World
from luce.train.learner import Learner, PreparedLearner
from luce.train.metrics import Means
from luce.train.settings import TrainSettings
from luce.train.trainer import NonFiniteStep, Trainer
from luce.types import Group, Responses

from .conftest import TableLearner, make_groups

SETTINGS = TrainSettings(learning_rate=0.05, batch_size=4, epochs=2.0, max_tokens_per_batch=20)


class Thoughtful(TableLearner):
    """The table, which notes what it was shown in advance and on which thread."""

    def __init__(self) -> None:
        super().__init__(torch.float64)
        self.prepared: list[tuple[str, ...]] = []
        self.answered: list[tuple[str, ...]] = []
        self.threads: set[str] = set()

    def prepare(self, groups: Sequence[Group]) -> list[Group]:
        self.threads.add(threading.current_thread().name)
        self.prepared.append(tuple(g.id for g in groups))
        return list(groups)

    def respond_to(self, prepared: list[Group]) -> Responses:
        self.answered.append(tuple(g.id for g in prepared))
        return super().respond(prepared)


def test_what_is_prepared_in_advance_trains_the_same(groups: list[Group]) -> None:
    plain, thoughtful = TableLearner(torch.float64), Thoughtful()
    assert isinstance(thoughtful, PreparedLearner) and isinstance(thoughtful, Learner)
    assert not isinstance(plain, PreparedLearner)
    records = [
        list(Trainer(learner, make_objective("dpo", {}), groups, SETTINGS).steps())
        for learner in (plain, thoughtful)
    ]
    assert records[0] == records[1]
    assert torch.equal(plain.table, thoughtful.table)
    assert thoughtful.prepared == thoughtful.answered
    assert any(name.startswith("prepare") for name in thoughtful.threads)


def test_a_trainer_set_elsewhere_meanwhile_takes_the_steps_of_its_new_place(
    groups: list[Group],
) -> None:
    learner = Thoughtful()
    trainer = Trainer(learner, make_objective("dpo", {}), groups, SETTINGS)
    state = trainer.state()
    tensors = {name: tensor.clone() for name, tensor in state[0].items()}
    steps = trainer.steps()
    first, second = next(steps), next(steps)
    trainer.restore(tensors, {**state[1], "step": 0})
    trainer.optimizer.state.clear()
    assert [next(steps), next(steps)] == [first, second]


def test_every_rank_and_cut_gives_the_groups_of_the_step_once(groups: list[Group]) -> None:
    size = 3
    found: list[str] = []
    for rank in range(size):
        ahead = Ahead(Thoughtful(), lambda step: groups, 1, World(rank, size), budget=15)
        parts = ahead.take(0)
        found += [g.id for part in parts for g in part.groups]
        assert len(parts) == len(micro_batches([g for p in parts for g in p.groups], 15))
        ahead.close()
    assert sorted(found) == sorted(g.id for g in groups)


def test_what_goes_wrong_in_advance_is_raised_when_it_is_its_turn(groups: list[Group]) -> None:
    class Fails(Thoughtful):
        def prepare(self, groups: Sequence[Group]) -> list[Group]:
            if len(self.prepared) > 4:
                raise LuceError("not there")
            return super().prepare(groups)

    settings = replace(SETTINGS, max_tokens_per_batch=10_000)
    steps = Trainer(Fails(), make_objective("dpo", {}), groups, settings).steps()
    for _ in range(5):
        next(steps)
    with pytest.raises(LuceError, match="not there"):
        next(steps)


UNFINISHED = """
import importlib
tests = importlib.import_module("{module}")
trainer = tests.Trainer(
    tests.Thoughtful(), tests.make_objective("dpo", {{}}), tests.make_groups(9), tests.SETTINGS
)
steps = trainer.steps()
next(steps)
print("one step")
"""


def test_a_program_may_end_in_the_middle_of_the_steps() -> None:
    code = UNFINISHED.format(module=__name__)
    root = Path(__file__).parents[len(__name__.split(".")) - 1]
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, "one step\n", "")


@pytest.mark.parametrize(("epochs", "visits"), [(0.52, 10), (0.53, 11), (1.0, 20), (0.001, 1)])
def test_no_step_of_a_part_of_an_epoch_is_empty(epochs: float, visits: int) -> None:
    settings, groups = replace(SETTINGS, batch_size=5, epochs=epochs), make_groups(20)
    trainer = Trainer(TableLearner(), make_objective("dpo", {}), groups, settings)
    sizes = [record["groups"] for record in trainer.steps()]
    assert sum(sizes) == visits and all(sizes)


def test_numbers_are_kept_as_they_are_and_read_in_the_order_they_came() -> None:
    groups = make_groups(3)
    account = Account()
    nan = float("nan")
    account.add(
        groups[:2],
        torch.tensor([1.0, 3.0], requires_grad=True),
        torch.tensor([1.0, 2.0]),
        {"a": torch.tensor([1.0, nan]), "right": torch.tensor([True, False])},
        {"kl": torch.tensor([0.5])},
    )
    account.add(groups[2:], torch.tensor([5.0]), torch.tensor([1.0]), {"b": torch.zeros(1)}, {})
    means, statistics = Means(), Means()
    weights = [tell(entry, means, statistics) for entry in account.read()]
    assert weights == [3.0, 1.0] and means["loss"] == pytest.approx((1 + 6 + 5) / 4)
    assert (means["a"], means.count("a"), means["right"], means["b"]) == (1.0, 1, 0.5, 0.0)
    assert statistics["kl"] == 0.5 and Account().read() == []


def test_numbers_come_over_once_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number of micro-batches: one transfer of costs and metrics."""
    calls: list[int] = []
    cpu = torch.Tensor.cpu

    def counted(tensor: torch.Tensor, *args: Any, **keywords: Any) -> torch.Tensor:
        calls.append(tensor.numel())
        return cpu(tensor, *args, **keywords)

    monkeypatch.setattr(torch.Tensor, "cpu", counted)
    settings = replace(SETTINGS, max_tokens_per_batch=1)
    trainer = Trainer(TableLearner(), make_objective("dpo", {}), make_groups(8), settings)
    next(trainer.steps())
    assert len(calls) == 1 and calls[0] > 4


def test_all_bad_rows_of_a_step_are_named_and_no_weight_moves() -> None:
    class Poisoned(TableLearner):
        def respond(self, groups: Sequence[Group]) -> Responses:
            found = super().respond(groups)
            return replace(found, policy=found.policy * float("nan"))

    learner = Poisoned()
    before = learner.table.detach().clone()
    settings = replace(SETTINGS, max_tokens_per_batch=1)
    trainer = Trainer(learner, make_objective("dpo", {}), make_groups(8), settings)
    with pytest.raises(NonFiniteStep, match=r"4 such rows in the batch") as caught:
        next(trainer.steps())
    assert len(caught.value.bad) == 4 and torch.equal(learner.table, before)
