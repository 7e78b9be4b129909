"""What a policy answers while it is trained, and which of the weights are the best so far.

At every `evaluate.sample_steps` the policy answers prompts, and a record of split `samples` goes to
metrics.jsonl. With `evaluate.best` the weights of the best of these steps are kept in `best/` and
taken in the end; by win rate or reward, never by loss, and on prompts that the run's last
comparison does not use, since the best of several noisy numbers is too good to be believed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save

from luce.data.template import Renderer
from luce.errors import RecipeError
from luce.evaluate import Generation, win_rate_of_preferences
from luce.evaluate.estimate import mean_by_prompt
from luce.evaluate.lengths import ended_share, mean_length
from luce.files import read_jsonl, write_atomic
from luce.intervals import Estimate
from luce.models.policy import CausalPolicy
from luce.models.policy_mixture import PolicyMixture
from luce.recipe.preferred import Opened, open_annotator, texts_of
from luce.recipe.prepare import Data
from luce.recipe.sampling import answer, groups_for_samples, kl_to_initial, sampling_of
from luce.recipe.schema import Recipe
from luce.train.trainer import Trainer
from luce.types import Group


def watch_groups(recipe: Recipe, data: Data) -> list[Group]:
    """The groups whose prompts are answered in training: those of the run's other samples, or
    where the best step is looked for as many others.

    Raises:
        RecipeError: there are no others.
    """
    groups, count = data.held_out or data.train, recipe.evaluate.sample_prompts
    if recipe.evaluate.best is None:
        return groups_for_samples(groups, count)
    found = groups_for_samples(groups, 2 * count)
    if len(found) < 2:
        raise RecipeError(
            "recipe.evaluate.best: the best step is looked for on prompts of its own, and there is "
            f"but {len(found)} prompt in all. Hold out more (`data.eval`)."
        )
    return found[min(count, len(found) // 2) :]


def check_watch(recipe: Recipe) -> None:
    """Raise where the keys on samples in training do not go together."""
    settings = recipe.evaluate
    if settings.sample_steps is not None and (
        recipe.model.kind != "policy" or settings.sample_prompts == 0
    ):
        raise RecipeError(
            "recipe.evaluate.sample_steps: samples a policy, and there is nothing to sample. Leave "
            "it out, or set `model.kind: policy` and `evaluate.sample_prompts`."
        )
    if settings.best is not None and (settings.annotator is None or settings.sample_steps is None):
        raise RecipeError(
            "recipe.evaluate.best: needs someone who judges and steps at which to. Set "
            "`evaluate.annotator` and `evaluate.sample_steps`."
        )
    if settings.max_kl is not None and settings.best is None:
        raise RecipeError(
            "recipe.evaluate.max_kl: limits among which steps the best is looked for. Set "
            "`evaluate.best`, or leave it out."
        )


@dataclass
class Watch:
    """Samples of a policy in training.

    Attributes:
        folder: of the run.
        initial: what the initial policy answered, by prompt.
    """

    recipe: Recipe
    folder: Path
    policy: CausalPolicy
    renderer: Renderer
    data: Data
    trainer: Trainer
    initial: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.recipe.evaluate.best is not None and isinstance(self.policy, PolicyMixture):
            raise RecipeError(
                "recipe.evaluate.best: a mixture has a policy for each annotator, and no one best "
                "step. Leave the key out."
            )

    def due(self, step: int, last: bool) -> bool:
        """Whether to sample after this step."""
        every = self.recipe.evaluate.sample_steps
        return every is not None and (last or step % every == 0)

    def look(self) -> dict[str, Any]:
        """Sample now; returns the record, and keeps the weights where they are the best so far."""
        settings = self.recipe.evaluate
        seed = self.recipe.train.seed
        prompts = [list(p) for p in self.initial["watch_prompts"]]
        answers = answer(self.policy, self.renderer, prompts, sampling_of(settings), seed)
        ours = answers.generations
        record: dict[str, Any] = {"split": "samples", "step": self.trainer.step, "n": len(ours)}
        record |= mean_length([g.tokens for g in ours]).flat("samples/length")
        record |= ended_share([g.ended for g in ours]).flat("samples/ended")
        kl = kl_to_initial(self.recipe, self.policy, self.renderer, answers)
        if kl is not None:
            named = Estimate(kl["value"], kl["low"], kl["high"], kl["n"])
            record |= named.flat("samples/kl")
        record |= self._judged(ours)
        if settings.best is not None and not self._beaten(record):
            self._keep(record)
        return record

    def best(self) -> dict[str, Any] | None:
        """The `best` entry of evaluation.json, for which the policy gets the weights of the best
        step, on every rank; None where it is not looked for."""
        settings = self.recipe.evaluate
        records = self._records()
        if settings.best is None or not records:
            return None
        found = max(records, key=self._rank)
        named = f"samples/{settings.best}"
        if found["step"] != self.trainer.step:
            self.trainer.put(load_file(self._place(found["step"])))
        return {
            "by": settings.best,
            "step": found["step"],
            "value": found[named],
            "low": found[f"{named}_low"],
            "high": found[f"{named}_high"],
            "n": found["n"],
            "kl": found.get("samples/kl"),
            "max_kl": settings.max_kl,
            "within": self._within(found),
            "steps": [r["step"] for r in records],
        }

    @cached_property
    def _annotator(self) -> Opened:
        settings = self.recipe.evaluate
        return open_annotator(str(settings.annotator), settings.annotator_kind)

    @cached_property
    def _texts(self) -> Sequence[Any]:
        return texts_of(self.recipe, self.data, watch_groups(self.recipe, self.data))

    def _judged(self, ours: Sequence[Generation]) -> dict[str, Any]:
        if self.recipe.evaluate.annotator is None:
            return {}
        theirs = [Generation(**g) for g in self.initial["watch_generations"]]
        found = self._annotator.preferences(self._texts, ours, theirs)
        rate = win_rate_of_preferences(found, seed=self.recipe.train.seed)
        record: dict[str, Any] = {}
        record |= Estimate(rate.value, rate.low, rate.high, rate.n).flat("samples/win_rate")
        if self._annotator.grade is not None:
            asked = [(t, [g.text]) for t, g in zip(self._texts, ours, strict=True)]
            rewards = [row[0] for row in self._annotator.grade(asked)]
            record |= mean_by_prompt(rewards).flat("samples/reward")
        return record

    def _rank(self, record: Mapping[str, Any]) -> tuple[float, float, float]:
        """The higher the better; of equal ones the earlier. Steps beyond `max_kl` stand below all
        others, the nearest first."""
        within = self._within(record)
        value = record[f"samples/{self.recipe.evaluate.best}"] if within else -record["samples/kl"]
        return float(within), float(value), -float(record["step"])

    def _within(self, record: Mapping[str, Any]) -> bool:
        most = self.recipe.evaluate.max_kl
        return most is None or record.get("samples/kl", 0.0) <= most

    def _beaten(self, record: Mapping[str, Any]) -> bool:
        return any(self._rank(r) > self._rank(record) for r in self._records())

    def _keep(self, record: Mapping[str, Any]) -> None:
        """Write the weights of this step; delete those to which no checkpoint can lead back."""
        tensors = {
            name: p.detach().cpu().contiguous()
            for name, p in self.trainer.learner.trainable().items()
        }
        self._place(record["step"]).parent.mkdir(exist_ok=True)
        write_atomic(self._place(record["step"]), save(tensors))
        records = self._records()
        checkpoints = [int(p.name[5:]) for p in (self.folder / "checkpoints").glob("step-*")]
        wanted = {record["step"]}
        for step in checkpoints:
            before = [r for r in records if r["step"] <= step]
            wanted |= {max(before, key=self._rank)["step"]} if before else set()
        for path in (self.folder / "best").glob("step-*.safetensors"):
            if int(path.stem[5:]) not in wanted:
                path.unlink()

    def _place(self, step: int) -> Path:
        return self.folder / "best" / f"step-{step:08d}.safetensors"

    def _records(self) -> list[dict[str, Any]]:
        """The records of this run so far: metrics.jsonl holds no others after a resume."""
        return [
            row for row in read_jsonl(self.folder / "metrics.jsonl") if row["split"] == "samples"
        ]
