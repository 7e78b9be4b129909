"""The loop of reinforcement learning: rounds of samples, and optimizer steps on each.

A round samples `n` responses to each of its prompts with the policy as it stands and grades them;
then come steps on `batch_size` prompts each, all samples of a prompt together, for `epochs` passes.
A step adds up gradients of weighted sums over micro-batches and divides once by the weight of the
global batch, so that how it was cut changes nothing but rounding.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from luce.data.pack import micro_batches, pack
from luce.errors import DataError, RecipeError
from luce.files import fingerprint
from luce.numerics import segment_sum
from luce.online.rl.experience import Experience, experience
from luce.online.rl.losses import (
    movement,
    policy_losses,
    token_weights,
    value_losses,
    whole_weight,
)
from luce.online.rl.methods import Method, Ppo
from luce.online.rl.metrics import sample_metrics
from luce.online.rl.optimizer import Optimizer
from luce.online.rl.rollout import Actors, Prompt, RolloutSettings, sampler_gap
from luce.online.rl.rounds import Rounds
from luce.train.account import Account, tell
from luce.train.anomalies import RecentNorms
from luce.train.distributed import World
from luce.train.metrics import Means
from luce.train.nonfinite import Bad, NonFiniteStep, gradient_failure, overflow
from luce.train.order import rows_of_step
from luce.train.settings import TrainSettings


@dataclass(frozen=True)
class Plan:
    """How many rounds there are, and of how many prompts each.

    Attributes:
        rounds: turns of the loop, 1 or more.
        prompts_per_round: how many of the prompts a round takes.
    """

    rounds: int
    prompts_per_round: int


class RLTrainer:
    """State over time: the weights of policy and critic, their optimizers, the step, the round.

    Args:
        actors: policy, reference, critic and scorer.
        method: by what it is trained.
        prompts: to sample from, in their order.
        plan: rounds.
        rollout: how they are sampled.
        settings: how they are trained on; `batch_size` counts prompts, `epochs` passes over the
            samples of a round, and `max_steps` steps of the whole run.
        folder: of the run; rounds are written to `rounds/` in it.
    """

    def __init__(
        self,
        actors: Actors,
        method: Method,
        prompts: Sequence[Prompt],
        plan: Plan,
        rollout: RolloutSettings,
        settings: TrainSettings,
        folder: Path,
    ) -> None:
        if not prompts:
            raise DataError("No prompts to sample from: 0 are left after reading.")
        if method.clip is None and settings.epochs > 1:
            raise RecipeError(
                f"train.epochs: {settings.epochs:g} passes over samples that the policy has moved "
                f"away from, and {method.name} without a ratio takes them for its own. Set "
                f"`epochs: 1`, or clip_low and clip_high (0.2) of the objective."
            )
        self.actors, self.method, self.prompts, self.plan = actors, method, prompts, plan
        self.rollout, self.settings = rollout, settings
        self.rounds = Rounds(folder / "rounds", actors, rollout)
        once = replace(settings, max_steps=None)
        self.visits = once.visits(plan.prompts_per_round)
        self.steps_per_round = once.total_steps(plan.prompts_per_round)
        whole = plan.rounds * self.steps_per_round
        self.total_steps = min(whole, settings.max_steps or whole)
        self.step, self.norms, self.world = 0, RecentNorms(), World()
        self.optimizers = {
            "policy": Optimizer(actors.policy.trainable(), settings, settings.learning_rate)
        }
        if isinstance(method, Ppo) and actors.critic is not None:
            rate = method.critic_learning_rate
            self.optimizers["critic"] = Optimizer(actors.critic.trainable(), settings, rate)
        self._now: Experience | None = None
        self._version: str | None = None
        self._rewards = (0.0, 0.0)  # sum and count of R over the rounds that are through

    @property
    def round(self) -> int:
        """The round of the next step, from 1."""
        return self.step // self.steps_per_round + 1

    def steps(self) -> Iterator[dict[str, Any]]:
        """Train to the end from wherever the trainer stands; yield the record of each step, and of
        each round as it is sampled.

        Raises:
            NonFiniteStep: a cost or a gradient is not finite; the weights are as before.
        """
        while self.step < self.total_steps:
            if self._now is None:
                yield from self._begin()
            yield self._one_step()

    def prompts_of(self, number: int) -> list[Prompt]:
        """The prompts of a round, from 1: the next in their order, from the beginning again once
        all have been asked."""
        count = self.plan.prompts_per_round
        first = (number - 1) * count
        return [self.prompts[(first + i) % len(self.prompts)] for i in range(count)]

    def add_gradients(self, found: Experience, numbers: Sequence[int]) -> Means:
        """Add the gradient of the step on these rollouts to policy and critic, as a mean over the
        global batch; returns the means of what it cost.

        Raises:
            NonFiniteStep: a cost is not finite.
        """
        mode, longest = self.method.loss_agg_mode, self.rollout.sampling.max_new_tokens
        account, device = Account(), self.actors.policy.device
        groups = [found.rollouts[i].group for i in numbers]
        whole = found.take(numbers, torch.device("cpu")).lengths
        weight, tokens = whole_weight(mode, whole), int(whole.sum())
        for part in micro_batches(groups, self.settings.max_tokens_per_batch):
            own = [groups[i] for i in part]
            packed = pack(own).to(device)
            taken = found.take([numbers[i] for i in part], device)
            policy = self.actors.policy.log_probs(packed)
            losses = policy_losses(self.method, policy, taken)
            weighted = losses * token_weights(mode, taken.lengths, longest).to(losses)
            (weighted.sum() / weight).backward()
            metrics = movement(self.method, policy.detach(), taken)
            if self.actors.critic is not None and isinstance(self.method, Ppo):
                errors = value_losses(self.method, self.actors.critic.values(packed), taken)
                (errors.sum() / tokens).backward()
                metrics["value_loss"] = errors.detach()
            of_response = segment_sum(weighted.detach(), taken.lengths)
            sizes = torch.tensor([len(g.branches) for g in own], device=device)
            cost = segment_sum(of_response, sizes)
            account.add(own, cost, torch.ones_like(cost), metrics, {})
        means = Means()
        for entry in account.read():
            self._refuse(entry.groups, entry.cost.tolist())
            tell(entry, means, Means())
        total, _ = means.sums.pop("loss")
        means.sums.pop("loss/groups")
        means.add_sum("loss", total, weight)
        return means

    def _begin(self) -> Iterator[dict[str, Any]]:
        """Sample the round, or read it where the run goes on in its middle."""
        number, fresh = self.round, self._version is None
        version = self.actors.version() if self._version is None else self._version
        rollouts = self.rounds.take(number, self.prompts_of(number), version, draw=fresh)
        total, count = self._rewards
        self._now = experience(self.method, rollouts, total / count if count else 0.0)
        self._version = version
        if fresh:
            mean, largest = sampler_gap(rollouts)
            every = range(len(rollouts))
            yield {
                "split": "round",
                "round": number,
                "step": self.step,
                "prompts": len(rollouts),
                "samples": sum(len(r.lengths) for r in rollouts),
                "tokens": sum(r.group.tokens for r in rollouts),
                "tokens/unshared": sum(
                    len(r.lengths) * len(r.group.prompt) + sum(r.lengths) for r in rollouts
                ),
                "policy": version,
                "sampler_gap": mean,
                "sampler_gap/max": largest,
                **sample_metrics(self._now, every),
            }

    def _one_step(self) -> dict[str, Any]:
        s, found = self.settings, self._now
        assert found is not None  # begun by `steps`
        number, within = self.round, self.step % self.steps_per_round
        # dropout (if any) draws from the step's own stream, so that a resumed run draws the same
        torch.manual_seed((s.seed * 1_000_003 + self.step) % 2**63)
        order = int(fingerprint([s.seed, number])[:12], 16)
        rows = rows_of_step(len(found.rollouts), s.batch_size, order, within, self.visits)
        for optimizer in self.optimizers.values():
            optimizer.clear()
        means = self.add_gradients(found, rows)
        share = s.rate(self.step, self.total_steps) / s.learning_rate
        norms = {name: o.norm() for name, o in self.optimizers.items()}
        for name, norm in norms.items():
            if not norm < float("inf"):
                raise self._gradient_failure(name, norm, found, rows)
        moved = {name: o.move(norms[name], share) for name, o in self.optimizers.items()}
        typical = self.norms.take(norms["policy"])
        self.step += 1
        values = means.values()
        record = {
            "split": "train",
            "step": self.step,
            "round": number,
            "groups": len(rows),
            "tokens": sum(found.rollouts[i].group.tokens for i in rows),
            "loss": values.pop("loss"),
            **sample_metrics(found, rows),
            **values,
            "grad_norm": norms["policy"],
            "grad_norm/clipped": float(moved["policy"][1]),
            "learning_rate": moved["policy"][0],
        }
        # prompts whose samples all got the same reward have no gradient, and nothing is wrong
        if typical is not None and norms["policy"] > typical:
            record["grad_norm/typical"] = typical
        if "critic" in norms:
            record["grad_norm/critic"] = norms["critic"]
            record["learning_rate/critic"] = moved["critic"][0]
        if self.step % self.steps_per_round == 0:
            totals = torch.cat(list(found.total)).double()
            total, count = self._rewards
            self._rewards = (total + float(totals.sum()), count + len(totals))
            self._now, self._version = None, None
        return record

    def _refuse(self, groups: Sequence[Any], costs: Sequence[float]) -> None:
        bad = [Bad(g, c) for g, c in zip(groups, costs, strict=True) if not math.isfinite(c)]
        if bad:
            raise NonFiniteStep(
                f"{bad[0].group.place}: the samples of this prompt cost {bad[0].cost} at step "
                f"{self.step + 1} ({len(bad)} such prompts in the batch). No weight was changed; "
                "the prompts are in nonfinite.jsonl. Lower learning_rate, or look at the rewards "
                f"in {self.rounds.place(self.round) / 'samples.jsonl'}.",
                bad,
            )

    def _gradient_failure(
        self, name: str, norm: float, found: Experience, rows: Sequence[int]
    ) -> NonFiniteStep:
        """The error of a gradient that is not finite where every cost is, with the prompts to blame
        for it."""
        optimizer = self.optimizers[name]
        what = f"{overflow(optimizer.parameters, self.world, norm)}, of the {name}"
        every = []
        for row in rows:
            for one in self.optimizers.values():
                one.clear()
            cost = self.add_gradients(found, [row])["loss"]
            every.append(Bad(found.rollouts[row].group, cost, optimizer.norm()))
        for one in self.optimizers.values():
            one.clear()
        remedy = "Lower learning_rate, or train in float32."
        return gradient_failure(self.step + 1, what, every, remedy)

    def whole(self) -> AbstractContextManager[None]:
        """The policy with all of its weights: it always has them."""
        return nullcontext()

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that a resumed run needs besides the samples of its round: tensors by name,
        and plain values."""
        tensors: dict[str, Tensor] = {}
        for name, optimizer in self.optimizers.items():
            tensors |= optimizer.state(name)
        return tensors, {
            "step": self.step,
            "version": self._version,
            "rewards": list(self._rewards),
            "norms": self.norms.values(),
        }

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Stand where `state` was taken."""
        for name, optimizer in self.optimizers.items():
            optimizer.restore(name, tensors)
        self.step, self._version = int(values["step"]), values["version"]
        self.norms = RecentNorms(float(norm) for norm in values.get("norms", ()))
        total, count = values["rewards"]
        self._rewards, self._now = (float(total), float(count)), None
