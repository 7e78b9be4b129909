"""Short runs of one recipe at several settings: everything is loaded once, and the weights go back
to where they were between runs. The numbers are those of `luce train` with the same keys."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from luce.diagnostics.divergence import squared_divergence
from luce.errors import RecipeError
from luce.evaluate import kl_k1, mean_by_prompt
from luce.intervals import Estimate
from luce.models.engine import SamplingSettings
from luce.models.policy import CausalPolicy
from luce.recipe.initial import check_step_0
from luce.recipe.load import Resolved
from luce.recipe.prepare import open_recipe, train_settings
from luce.recipe.reference import prepare_reference
from luce.recipe.run import check_layout, make_trainer, tell_data
from luce.recipe.sampling import (
    Answers,
    answer,
    prompts_for_samples,
    sampled_groups,
    token_log_probs,
)
from luce.train.distributed import World
from luce.train.order import rows_of_step
from luce.train.trainer import NonFiniteStep, Trainer
from luce.types import Group

HELD_OUT = 256
"""Held-out rows that are looked at, at most: enough for an accuracy to 6 points, and a fifth of the
work of 50 steps of 32 rows."""

LOOKS = 3
"""Evaluations of the held-out rows in a run, besides the one before it."""

SAMPLES = 64
"""Prompts that are answered for KL, at most."""


@dataclass(frozen=True)
class Measured:
    """What came of a short run.

    Attributes:
        learning_rate, beta: of it; None where the objective has no β.
        overrides: the keys with which `luce train` repeats it.
        steps: that it was to take.
        failure: what became not finite, and at which step; "" where nothing did.
        loss: held-out loss before and after.
        chosen, rejected: change of log π per token on held-out rows, nats; None where the objective
            has no such responses.
        margin: growth of the margin a step, in units of the score.
        accuracy: on held-out pairs, after.
        kl: KL from the initial policy after the run, nats a response; None of a reward model, and
            where demonstrations are imitated, which is meant to lead away from it.
        kl_from: "samples", or "held-out rows" where it is ½ the μ-weighted squared loss on them.
        length: tokens of the samples.
        grad_norm: median over the steps, before clipping.
        records: a line a step and a look, as metrics.jsonl has them.
        quality: of each held-out row whether it is judged right, or minus its NLL; () where the
            objective tells neither.
        prompts: of each held-out row.
    """

    learning_rate: float
    beta: float | None
    overrides: tuple[str, ...]
    steps: int
    failure: str = ""
    loss: tuple[float, float] = (math.nan, math.nan)
    chosen: Estimate | None = None
    rejected: Estimate | None = None
    margin: Estimate | None = None
    accuracy: Estimate | None = None
    kl: Estimate | None = None
    kl_from: str | None = None
    length: Estimate | None = None
    grad_norm: float = math.nan
    records: tuple[Mapping[str, Any], ...] = ()
    quality: tuple[float, ...] = ()
    prompts: tuple[bytes, ...] = ()

    @property
    def kl_per_step(self) -> Estimate | None:
        """KL over the steps, nats a response."""
        return None if self.kl is None else _scaled(self.kl, 1 / self.steps)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = {
            "learning_rate": self.learning_rate,
            "beta": self.beta,
            "overrides": list(self.overrides),
            "steps": self.steps,
            "failure": self.failure or None,
            "loss_before": _known(self.loss[0]),
            "loss_after": _known(self.loss[1]),
            "kl_from": self.kl_from,
            "grad_norm": _known(self.grad_norm),
        }
        for name in ("chosen", "rejected", "margin", "accuracy", "kl", "kl_per_step", "length"):
            estimate: Estimate | None = getattr(self, name)
            found[name] = None if estimate is None else estimate.plain()
        records = [
            {k: _known(v) if isinstance(v, float) else v for k, v in record.items()}
            for record in self.records
        ]
        return found | {"records": records}


class Bench:
    """A model, its rows and its reference, ready for short runs.

    Args:
        resolved: the recipe, with the steps and the schedule of the runs.
        folder: where reference log-probabilities are kept.
    """

    def __init__(self, resolved: Resolved, folder: Path, console: Console):
        recipe = resolved.recipe
        self.recipe, self.world = recipe, World()
        self.imitates = resolved.objective.structure == "demonstration"
        self.model, self.renderer, data = open_recipe(resolved)
        tell_data(console, data)
        if not data.train:
            raise RecipeError("recipe.data: no rows to train on are left.")
        if not data.held_out:
            raise RecipeError(
                "recipe.data.eval: null, and a probe looks at rows that are not trained on. Hold "
                "some out, as in `data.eval=0.1`."
            )
        check_layout(console, self.model, data, recipe.train.max_tokens_per_batch)
        self.data = replace(data, held_out=data.held_out[:HELD_OUT])
        visited = self._visited(data.train)
        seen = replace(self.data, train=visited)
        self.reference = prepare_reference(
            recipe, resolved.objective, self.model, seen, folder, self.world, console, True
        )
        self.start = {k: p.detach().clone() for k, p in self._weights().items()}
        if self.reference.is_policy_at_step_0 and isinstance(self.model, CausalPolicy):
            check_step_0(self._trainer(resolved), visited[:16], self.model.dtype)
        self.known: dict[float | None, tuple[Mapping[str, Any], Mapping[str, list[float]]]] = {}

    def run(
        self,
        resolved: Resolved,
        learning_rate: float,
        beta: float | None,
        overrides: Sequence[str],
    ) -> Measured:
        """Train so many steps from the start, look, and put the weights back."""
        trainer = self._trainer(resolved)
        steps = trainer.total_steps
        before = self._before(trainer, beta)
        records: list[Mapping[str, Any]] = [before[0]]
        base = Measured(learning_rate, beta, tuple(overrides), steps)
        looks = {round(steps * (i + 1) / LOOKS) for i in range(LOOKS)}
        try:
            try:
                for record in trainer.steps():
                    records.append(record)
                    if record["step"] in looks:
                        records.append(trainer.evaluate(self.data.held_out))
            except NonFiniteStep:
                failure = f"cost or gradient is not finite at step {trainer.step + 1}"
                return replace(base, failure=failure, records=tuple(records))
            after = trainer.per_group(self.data.held_out)
            last = records[-1]
            if not math.isfinite(last["eval_loss"]):
                failure = f"the held-out loss is not finite after step {trainer.step}"
                return replace(base, failure=failure, records=tuple(records))
            answers, now = self._sampled()
        finally:
            self._reset()
        norms = [r["grad_norm"] for r in records if "grad_norm" in r]
        return replace(
            base,
            **self._estimates(before[1], after, last, steps),
            **self._divergence(answers, now, before[1], after),
            loss=(float(before[0]["eval_loss"]), float(last["eval_loss"])),
            grad_norm=float(statistics.median(norms)),
            records=tuple(records),
        )

    def _trainer(self, resolved: Resolved) -> Trainer:
        return make_trainer(resolved, self.model, self.reference, self.data, self.world)

    def _weights(self) -> dict[str, torch.nn.Parameter]:
        return {k: p for k, p in self.model.trainable().items()}

    @torch.no_grad()
    def _reset(self) -> None:
        for name, parameter in self._weights().items():
            parameter.copy_(self.start[name])
            parameter.grad = None

    def _visited(self, train: Sequence[Group]) -> list[Group]:
        """The rows that the runs go through: the reference is asked for no others."""
        settings, size = train_settings(self.recipe), len(train)
        rows = {
            i
            for step in range(settings.total_steps(size))
            for i in rows_of_step(
                size, settings.batch_size, settings.seed, step, settings.visits(size)
            )
        }
        return [train[i] for i in sorted(rows)]

    def _before(
        self, trainer: Trainer, beta: float | None
    ) -> tuple[Mapping[str, Any], Mapping[str, list[float]]]:
        """What the held-out rows are like before training: the same for all learning rates."""
        if beta not in self.known:
            held_out = self.data.held_out
            self.known[beta] = trainer.evaluate(held_out), trainer.per_group(held_out)
        return self.known[beta]

    def _sampled(self) -> tuple[Answers | None, list[list[float]]]:
        """Samples of the policy as it is, and log π of their tokens."""
        count = min(SAMPLES, self.recipe.evaluate.sample_prompts)
        if self.recipe.model.kind != "policy" or self.imitates or count == 0:
            return None, []
        assert isinstance(self.model, CausalPolicy)  # what `model.kind: policy` loads
        prompts = prompts_for_samples(self.data.held_out, count)
        sampling = SamplingSettings(max_new_tokens=self.recipe.evaluate.max_new_tokens)
        answers = answer(self.model, self.renderer, prompts, sampling, self.recipe.train.seed)
        return answers, self._log_probs(sampled_groups(answers))

    def _log_probs(self, groups: Sequence[Group]) -> list[list[float]]:
        assert isinstance(self.model, CausalPolicy)
        return token_log_probs(self.model, groups, self.recipe.train.max_tokens_per_batch)

    def _divergence(
        self,
        answers: Answers | None,
        now: list[list[float]],
        before: Mapping[str, list[float]],
        after: Mapping[str, list[float]],
    ) -> dict[str, Any]:
        """KL from the start, whose weights the model has again; and the length of the samples."""
        if answers is not None and (groups := sampled_groups(answers)):
            keys = [group.prompt.tobytes() for group in groups]
            tokens = mean_by_prompt([len(sample.ids) for sample in answers.samples])
            kl = kl_k1(now, self._log_probs(groups), keys)
            return {"kl": kl, "kl_from": "samples", "length": tokens}
        sides = [f"logps/{role}" for role in ("chosen", "rejected")]
        if not all(name in before for name in sides):
            return {}
        ratios = [_apart(before[name], after[name]) for name in sides]
        kept = [
            i for i, pair in enumerate(zip(*ratios, strict=True)) if all(map(math.isfinite, pair))
        ]
        if not kept:
            return {}
        prompts = [self.data.held_out[i].prompt.tobytes() for i in kept]
        chosen, rejected = ([side[i] for i in kept] for side in ratios)
        squared = squared_divergence(chosen, rejected, prompts)
        return {"kl": _scaled(squared, 0.5), "kl_from": "held-out rows"}

    def _estimates(
        self,
        before: Mapping[str, list[float]],
        after: Mapping[str, list[float]],
        last: Mapping[str, Any],
        steps: int,
    ) -> dict[str, Any]:
        prompts = [group.prompt.tobytes() for group in self.data.held_out]

        def moved(metric: str) -> Estimate | None:
            if metric not in after:
                return None
            rows = zip(_apart(before[metric], after[metric]), prompts, strict=True)
            kept = [(x, p) for x, p in rows if math.isfinite(x)]
            return mean_by_prompt([x for x, _ in kept], [p for _, p in kept]) if kept else None

        margin = moved("rewards/margins")
        if margin is None:  # single judged responses: two means in place of one of pairs
            good, bad = moved("rewards/chosen"), moved("rewards/rejected")
            if good is not None and bad is not None:
                half = 1.959964 * math.hypot(good.standard_error, bad.standard_error)
                value = good.value - bad.value
                margin = Estimate(value, value - half, value + half, good.n + bad.n)
        named = "eval_rewards/accuracies"
        accuracy = None
        if named in last:
            ends = float(last[f"{named}_low"]), float(last[f"{named}_high"])
            accuracy = Estimate(float(last[named]), *ends, int(last["n"]))
        quality = after.get("rewards/accuracies") or [-x for x in after.get("nll", [])]
        return {
            "chosen": moved("logps_per_token/chosen"),
            "rejected": moved("logps_per_token/rejected"),
            "margin": None if margin is None else _scaled(margin, 1 / steps),
            "accuracy": accuracy,
            "quality": tuple(quality),
            "prompts": tuple(prompts),
        }


def _apart(before: Sequence[float], after: Sequence[float]) -> list[float]:
    return [b - a for a, b in zip(before, after, strict=True)]


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    value, low, high = (factor * x for x in (estimate.value, estimate.low, estimate.high))
    return Estimate(value, low, high, estimate.n)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
