"""The one loop: groups in, weights moved, a record of every step out.

A step takes exactly `batch_size` groups, cuts them into micro-batches by tokens, adds up the
gradients of the *sums* of costs, and divides once by the global weight: the mean over the global
batch does not depend on how it was cut or over how many ranks it was spread. Where a group's cost
depends on the whole batch, the step goes through `luce.train.global_batch` to the same end.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from luce.data.pack import micro_batches
from luce.errors import DataError
from luce.train.account import Account, Entry, tell
from luce.train.ahead import Ahead, mine
from luce.train.anomalies import RecentNorms
from luce.train.batch import check_rows, check_structure, collate
from luce.train.distributed import World
from luce.train.global_batch import gather_batch
from luce.train.learner import Learner
from luce.train.loss_scale import LossScale
from luce.train.metrics import Means, held_out_record
from luce.train.nonfinite import Bad, NonFiniteStep, gradient_failure, overflow, row_by_row
from luce.train.optimizer import adamw, move, optimizer_state, put, restore_optimizer
from luce.train.order import rows_of_step, visits_of_step
from luce.train.pull import pulls
from luce.train.settings import TrainSettings
from luce.train.sharded import gradient_norm, local_gradients, whole
from luce.types import CostFunction, Group, Responses

STATISTICS_MEMORY = 512
"""Rows over which running statistics (KTO's KL baseline) are averaged."""


@dataclass
class Running:
    """Running means whose memory is counted in rows, so that batch size does not enter."""

    sums: dict[str, tuple[float, float]] = field(default_factory=dict)

    def observe(self, means: Means) -> None:
        """Take in a step's values."""
        for name, (total, count) in means.sums.items():
            before, n = self.sums.get(name, (0.0, 0.0))
            keep = (1 - 1 / STATISTICS_MEMORY) ** count
            self.sums[name] = (before * keep + total, n * keep + count)

    def values(self) -> dict[str, float]:
        return {name: total / n for name, (total, n) in self.sums.items() if n}


class Trainer:
    """State over time: the learner's weights, the optimizer, the step, the running statistics.

    Args:
        learner: what is trained.
        objective: what a group costs.
        groups: the training rows, tokenized.
        settings: how.
        world: this process among its peers.
        loss_scale: of the backward pass through a float16 network whose trained weights are
            float32; None: nothing is scaled.
    """

    def __init__(
        self,
        learner: Learner,
        objective: CostFunction,
        groups: Sequence[Group],
        settings: TrainSettings,
        world: World | None = None,
        loss_scale: LossScale | None = None,
    ):
        if not groups:
            raise DataError("No rows to train on: 0 are left after reading and truncation.")
        check_structure(groups, objective.structure)
        check_rows(groups, objective)
        self.learner, self.objective, self.groups = learner, objective, groups
        self.settings, self.world = settings, world or World()
        self.parameters = dict(learner.trainable())
        self.total_steps = settings.total_steps(len(groups))
        self.visits = settings.visits(len(groups))
        self.step = 0
        self.running, self.norms, self.loss_scale = Running(), RecentNorms(), loss_scale
        self.optimizer = adamw(self.parameters, settings, settings.learning_rate)

    def steps(self) -> Iterator[dict[str, Any]]:
        """Train to the end from wherever the trainer stands; yield each step's record.

        Raises:
            NonFiniteStep: a cost or the gradient is not finite; the weights are as before.
        """
        budget = self.settings.max_tokens_per_batch
        ahead = Ahead(self.learner, self._groups_of, self.total_steps, self.world, budget)
        try:
            while self.step < self.total_steps:
                yield self._one_step(ahead)
        finally:
            ahead.close()

    def _groups_of(self, step: int) -> list[Group]:
        """The groups of a step, in order, each told how often the run has seen it."""
        s, size, last = self.settings, len(self.groups), self.visits
        rows = rows_of_step(size, s.batch_size, s.seed, step, last)
        visits = visits_of_step(size, s.batch_size, step, last)
        return [replace(self.groups[i], visit=n) for i, n in zip(rows, visits, strict=True)]

    def _one_step(self, ahead: Ahead) -> dict[str, Any]:
        s, overflows = self.settings, 0
        while (found := self._gradient(ahead)) is None:
            overflows += 1
        means, statistics, norm = found
        rate = s.rate(self.step, self.total_steps)
        parameters = list(self.parameters.values())
        clipped = move(self.optimizer, parameters, norm, s.max_grad_norm, rate)
        told = {"grad_norm": norm, "grad_norm/clipped": float(clipped)}
        typical = self.norms.take(norm)
        if typical is not None:
            told["grad_norm/typical"] = typical
        if self.loss_scale is not None:
            told |= {"loss_scale": self.loss_scale.scale, "loss_scale/overflows": float(overflows)}
            self.loss_scale.hold()
        self.running.observe(statistics)
        self.step += 1
        values = means.values()
        values.pop("loss/groups")
        rows = rows_of_step(len(self.groups), s.batch_size, s.seed, self.step - 1, self.visits)
        return {
            "split": "train",
            "step": self.step,
            "epoch": round(min(self.step * s.batch_size, self.visits) / len(self.groups), 6),
            "groups": len(rows),
            "tokens": sum(self.groups[i].tokens for i in rows),
            "loss": values.pop("loss"),
            **told,
            "learning_rate": rate,
            **values,
        }

    def _gradient(self, ahead: Ahead) -> tuple[Means, Means, float] | None:
        """Make the gradient of the global mean; returns metrics, statistics and its norm, or None
        where it overflowed under a loss scale, which is halved then.

        Raises:
            NonFiniteStep: see `steps`; the same on all ranks.
        """
        s, world = self.settings, self.world
        # dropout (if any) draws from the step's own stream, so that a resumed run draws the same
        seed = ((s.seed * 1_000_003 + self.step) * 4_099 + world.rank) % 2**63
        torch.manual_seed(seed)
        self.optimizer.zero_grad(set_to_none=True)
        means, statistics, weight, failure = Means(), Means(), 0.0, None
        try:
            for entry in self._add_gradients(ahead, seed):
                weight += tell(entry, means, statistics)
        except NonFiniteStep as error:
            failure = error
        # told to everybody before anybody stops, or the other ranks would wait for ever
        told = failure and (str(failure), failure.bad)
        shares = world.gather((means, statistics, weight, told))
        failures = [share for *_, share in shares if share]
        if failures:
            bad = [one for _, some in failures for one in some]
            raise NonFiniteStep(failures[0][0], bad) from failure
        norm = self._mean_gradient(sum(w for _, _, w, _ in shares))
        if not norm < float("inf"):
            if self.loss_scale is not None and self.loss_scale.halve():
                return None
            raise self._gradient_failure(norm, seed)
        means = Means().merge(m for m, _, _, _ in shares)
        return means, Means().merge(t for _, t, _, _ in shares), norm

    @property
    def _scale(self) -> float:
        return 1.0 if self.loss_scale is None else self.loss_scale.scale

    def _add_gradients(self, ahead: Ahead, seed: int) -> list[Entry]:
        """The gradient of this rank's part of a step, and what the part cost; of a cost of the
        whole batch the first rank accounts for all groups, the others for none."""
        account = Account()
        if self.objective.scope == "batch":
            self._backward_together(self._groups_of(self.step), seed, account)
        else:
            for part in ahead.take(self.step):
                cost, weight, batch = self._cost(part.groups, part.respond(self.learner))
                ((cost * weight).sum() * (self._scale * part.counts)).backward()
                if part.counts:
                    self._note(account, part.groups, cost, weight, batch)
        entries = account.read()
        self._refuse_non_finite(
            [group for entry in entries for group in entry.groups],
            [value for entry in entries for value in entry.cost.tolist()],
        )
        return entries

    def _backward_together(self, groups: list[Group], seed: int, account: Account) -> None:
        """Add the gradient of a step whose cost is one of the whole batch."""
        budget = self.settings.max_tokens_per_batch
        whole = gather_batch(self.learner, groups, self.world, budget, seed)
        cost, weight, batch = self._cost(groups, whole.responses)
        self._refuse_non_finite(groups, cost.tolist(), whole.finite(groups))
        whole.backward(self.learner, (cost * weight).sum() * self._scale)
        if self.world.first:
            self._note(account, groups, cost, weight, batch)

    def _refuse_non_finite(
        self, groups: list[Group], costs: list[float], finite: Sequence[bool] | None = None
    ) -> None:
        """Raise where a cost is not finite. `finite` says of each group whether it is to blame: one
        bad group may spoil a cost of the whole batch for all."""
        pairs = zip(groups, costs, strict=True)
        bad = [Bad(group, value) for group, value in pairs if not math.isfinite(value)]
        if bad:
            blamed = {id(g) for g, good in zip(groups, finite or (), strict=False) if not good}
            bad = [b for b in bad if id(b.group) in blamed] or bad
            first = bad[0]
            raise NonFiniteStep(
                f"{first.group.place}: this row costs {first.cost} at step {self.step + 1} "
                f"({len(bad)} such rows in the batch). No weight was changed; the rows are in "
                "nonfinite.jsonl. Lower learning_rate, or look at the row.",
                bad,
            )

    def _note(
        self,
        account: Account,
        groups: list[Group],
        cost: Tensor,
        weight: Tensor,
        batch: Any,
        start: Sequence[tuple[float, float]] | None = None,
    ) -> None:
        """Add a batch's cost, metrics and statistics to the account."""
        metrics, statistics = self.objective.metrics(batch), self.objective.statistics(batch)
        if start is not None:
            then = cost.new_tensor(start)
            apart = metrics["logps/chosen"] - metrics["logps/rejected"] - (then[:, 0] - then[:, 1])
            metrics = {**metrics, "divergence/squared": apart.square() / 2}
        account.add(groups, cost, weight, metrics, statistics)

    def _cost(self, groups: list[Group], responses: Responses) -> tuple[Tensor, Tensor, Any]:
        batch = collate(responses, groups, self.objective.structure, self.running.values())
        cost = self.objective(batch)
        row_weight = torch.tensor([g.weight for g in groups], dtype=cost.dtype, device=cost.device)
        return cost, row_weight * self.objective.weight(batch), batch

    def _mean_gradient(self, weight: float) -> float:
        """Turn summed, scaled gradients into those of the global mean; returns their norm."""
        parameters = list(self.parameters.values())
        self.world.add_gradients(parameters)
        torch._foreach_div_(local_gradients(parameters), weight * self._scale)
        return gradient_norm(parameters)

    def _gradient_failure(self, norm: float, seed: int) -> NonFiniteStep:
        """The error of a gradient that is not finite where every cost is, with the rows to blame
        for it. All ranks must ask."""
        what = overflow(self.parameters, self.world, norm)
        remedy = "Lower learning_rate, train in float32, or look at the row."
        if self.loss_scale is not None:
            what += f", at the lowest loss scale ({self._scale:g})"
            remedy = "Set train.bf16 or model.dtype: float32, or look at the row."
        found = row_by_row(
            self.learner,
            self._groups_of(self.step),
            self.world,
            seed,
            lambda groups, responses: self._cost(groups, responses)[:2],
            together=self.objective.scope == "batch",
        )
        return gradient_failure(self.step + 1, what, found, remedy)

    def whole(self) -> AbstractContextManager[None]:
        """The learner with all of its weights on every rank, for a while; all ranks must enter."""
        return whole(self.learner)

    def _priced(
        self, groups: Sequence[Group], world: World
    ) -> Iterator[tuple[list[int], Tensor, Tensor, Any]]:
        """Numbers of this rank's groups by micro-batch, with cost, weight and batch; under a cost
        of the whole batch those of all groups, `batch_size` at a time, on every rank."""
        for numbers, some, responses in self._responded(groups, world):
            yield numbers, *self._cost(some, responses)

    def _responded(
        self, groups: Sequence[Group], world: World
    ) -> Iterator[tuple[list[int], list[Group], Responses]]:
        size, budget = self.settings.batch_size, self.settings.max_tokens_per_batch
        if self.objective.scope == "batch":
            check_rows(groups, self.objective)
            for start in range(0, len(groups), size):
                chunk = list(groups[start : start + size])
                whole = gather_batch(self.learner, chunk, world, budget)
                yield list(range(start, start + len(chunk))), chunk, whole.responses
            return
        own = mine(list(groups), world)
        for part in micro_batches([groups[i] for i in own], budget):
            some = [groups[own[i]] for i in part]
            yield [own[i] for i in part], some, self.learner.respond(some)

    @torch.no_grad()
    def evaluate(
        self, groups: Sequence[Group], start: Sequence[tuple[float, float]] | None = None
    ) -> dict[str, Any]:
        """The objective on held-out groups: means with n, accuracies with intervals.

        Where a group's cost depends on the whole batch, the groups are taken `batch_size` at a
        time, in their order, as training takes them; the last batch may be smaller.

        Args:
            start: log π₀ of each pair's chosen and rejected response, nats: then
                `divergence/squared`, ½ (ρ_chosen − ρ_rejected)² with ρ = log π − log π₀, is there.
        """
        account, means = Account(), Means()
        together = self.objective.scope == "batch"
        with self.whole():
            for part, cost, weight, batch in self._priced(groups, self.world):
                if self.world.first or not together:
                    first = None if start is None else [start[i] for i in part]
                    self._note(account, [groups[i] for i in part], cost, weight, batch, first)
        for entry in account.read():
            tell(entry, means, Means())
        merged = Means().merge(self.world.gather(means))
        return held_out_record(merged, self.step)

    @torch.no_grad()
    def per_group(self, groups: Sequence[Group]) -> dict[str, list[float]]:
        """The objective's metrics, each for every group, in order; on this rank alone."""
        found: dict[str, list[float]] = {}
        for part, _, _, batch in self._priced(groups, World()):
            for name, values in self.objective.metrics(batch).items():
                column = found.setdefault(name, [math.nan] * len(groups))
                for place, value in zip(part, values.tolist(), strict=True):
                    column[place] = value
        return found

    @torch.no_grad()
    def pulls(self, groups: Sequence[Group]) -> list[float]:
        """How hard each group pulls on the policy (`luce.train.pull`), in order; on this rank
        alone."""
        found: dict[int, float] = {}
        for part, some, responses in self._responded(groups, World()):
            sizes = [len(group.branches) for group in some]
            values = pulls(responses, sizes, lambda given, some=some: self._cost(some, given)[0])
            found |= dict(zip(part, values, strict=True))
        return [found[i] for i in range(len(groups))]

    @torch.no_grad()
    def distance_to_reference(self, groups: Sequence[Group]) -> float:
        """max |log π(y|x) − log π_ref(y|x)| over the responses of these groups, nats."""
        worst = 0.0
        for part in micro_batches(list(groups), self.settings.max_tokens_per_batch):
            responses = self.learner.respond([groups[i] for i in part])
            apart = (responses.log_prob - responses.reference_log_prob).abs().max()
            worst = max(worst, float(apart))
        return worst

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that a resumed run needs: tensors by name, whole, and plain values. All ranks
        must ask."""
        values = {"step": self.step, "running": self.running.sums, "norms": self.norms.values()}
        if self.loss_scale is not None:
            values["loss_scale"] = self.loss_scale.state()
        return optimizer_state(self.optimizer, self.parameters), values

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Stand where `state` was taken."""
        restore_optimizer(self.optimizer, self.parameters, tensors)
        self.step = int(values["step"])
        self.running = Running({k: (float(a), float(b)) for k, (a, b) in values["running"].items()})
        self.norms = RecentNorms(float(norm) for norm in values.get("norms", ()))
        if self.loss_scale is not None and "loss_scale" in values:
            self.loss_scale.restore(values["loss_scale"])

    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Take these weights, whole and by name, the same on all ranks."""
        put(self.parameters, weights)
