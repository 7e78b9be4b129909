"""What the policy answers before, in and after reinforcement learning, and who prefers which."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from luce.data.template import Renderer
from luce.errors import RecipeError
from luce.evaluate import Generation, length_record, mean_by_prompt, sample_side_by_side
from luce.evaluate.lengths import ended_share, mean_length
from luce.files import write_json, write_jsonl
from luce.intervals import Estimate
from luce.models.policy import CausalPolicy
from luce.objectives.own import is_own
from luce.online.rl import RLTrainer
from luce.online.rl.rollout import Grade
from luce.recipe.eval_grader import Kind
from luce.recipe.online_prompts import Prompt, Prompts
from luce.recipe.preferred import Opened, compared, open_annotator
from luce.recipe.sampling import Answers, answer, kl_to_initial, prompt_text, sampling_of
from luce.recipe.schema import Recipe
from luce.types import Text

Asked = Sequence[tuple[Text, Sequence[str]]]


def open_scorer(name: str, kind: Kind | None) -> Grade:
    """The rewards that a recipe's `online.annotator` gives: a reward model, a policy's implicit
    reward, or `module:function` of a prompt and responses.

    A model cannot read a response without text. It is given the lowest reward of those that are
    graded together with it (a block of prompts); `empty` in the metrics counts them.

    Raises:
        RecipeError: it only compares.
    """
    opened = open_annotator(name, kind)
    if opened.grade is None:
        raise RecipeError(
            f"recipe.online.annotator: {name} compares two responses and gives no reward of one, "
            "which reinforcement learning climbs. Name a reward model, or a function of a prompt "
            "and responses."
        )
    return opened.grade if is_own(name) else with_empty(opened.grade)


def with_empty(grade: Callable[[Any], Sequence[Sequence[float]]]) -> Grade:
    """The same, with the lowest reward of all for responses without text, which are not shown.

    Raises (when asked):
        RecipeError: all responses are empty.
    """

    def graded(asked: Asked) -> list[list[float]]:
        shown = [(prompt, [t for t in texts if t.strip()]) for prompt, texts in asked]
        found = [iter(row) for row in grade(shown)]
        rows = [
            [float(next(own)) if text.strip() else None for text in texts]
            for (_, texts), own in zip(asked, found, strict=True)
        ]
        known = [x for row in rows for x in row if x is not None]
        if not known:
            raise RecipeError(
                "recipe.online.annotator: every response of a block is empty, so that there is "
                "nothing to grade. The policy ends at once: check its chat template and "
                "`data.render`."
            )
        lowest = min(known)
        return [[lowest if x is None else x for x in row] for row in rows]

    return graded


@dataclass
class Looker:
    """Samples of the policy on the run's evaluation prompts.

    Attributes:
        folder: of the run; initial.json in it has the answers from before the first step.
        prompts: of the run: the held-out ones are answered, or those of training where none are
            held out.
        grade: the scorer that is learned from.
        trainer: gives the trainer.
    """

    recipe: Recipe
    folder: Path
    policy: CausalPolicy
    renderer: Renderer
    prompts: Prompts
    grade: Grade
    trainer: Callable[[], RLTrainer]

    @property
    def asked(self) -> list[Prompt]:
        """The prompts that are answered."""
        every = self.prompts.held_out or self.prompts.train
        return list(every[: self.recipe.evaluate.sample_prompts])

    def begin(self) -> None:
        """Answer them with the policy as it begins; read again by a run that is resumed."""
        path = self.folder / "initial.json"
        if self.asked and not path.exists():
            write_json(path, {"generations": [asdict(g) for g in self.answers().generations]})

    @cached_property
    def before(self) -> list[Generation]:
        """What the policy answered when it began."""
        state = json.loads((self.folder / "initial.json").read_text("utf-8", "surrogatepass"))
        return [Generation(**g) for g in state["generations"]]

    def due(self, step: int, last: bool) -> bool:
        """Whether to sample after this step."""
        every = self.recipe.evaluate.sample_steps
        return bool(self.asked) and every is not None and (last or step % every == 0)

    def look(self) -> dict[str, Any]:
        """Sample now; returns the record."""
        answers = self.answers()
        ours = answers.generations
        record: dict[str, Any] = {"split": "samples", "step": self.trainer().step, "n": len(ours)}
        record |= mean_length([g.tokens for g in ours]).flat("samples/length")
        record |= ended_share([g.ended for g in ours]).flat("samples/ended")
        record |= mean_by_prompt(self.rewards(ours)).flat("samples/reward")
        kl = kl_to_initial(self.recipe, self.policy, self.renderer, answers)
        if kl is not None:
            record |= Estimate(kl["value"], kl["low"], kl["high"], kl["n"]).flat("samples/kl")
        rate = self.compared(ours)["win_rate"]
        interval = Estimate(rate["value"], rate["low"], rate["high"], rate["n"])
        return record | interval.flat("samples/win_rate")

    def answers(self) -> Answers:
        """One answer to each prompt; every policy draws the same random numbers."""
        ids = [list(p.ids) for p in self.asked]
        sampling = sampling_of(self.recipe.evaluate)
        return answer(self.policy, self.renderer, ids, sampling, self.recipe.train.seed)

    def rewards(self, found: Sequence[Generation]) -> list[float]:
        """What the scorer gives to answers."""
        rows = self.grade([(p.text, [g.text]) for p, g in zip(self.asked, found, strict=True)])
        return [float(row[0]) for row in rows]

    def compared(self, ours: Sequence[Generation]) -> dict[str, Any]:
        """`win_rate` over the answers from before, and `length_controlled`."""
        name, annotator = self.judge
        texts = [p.text for p in self.asked]
        found = annotator(texts, ours, self.before)
        seed = self.recipe.train.seed
        entries = compared(found, ours, self.before, against="initial", annotator=name, seed=seed)
        return entries | {"preferences": found}

    @cached_property
    def judge(self) -> tuple[str, Callable[..., list[float]]]:
        """Who compares the answers: the evaluation's annotator, else the gold one, else the scorer
        that is learned from; its name, and P(ours ≻ theirs) of each prompt."""
        evaluate, online = self.recipe.evaluate, self.recipe.online
        assert online is not None  # checked
        opened: Opened | None = None
        name = online.annotator
        if evaluate.annotator is not None:
            name, opened = (
                evaluate.annotator,
                open_annotator(evaluate.annotator, evaluate.annotator_kind),
            )
        elif online.gold is not None:
            name, opened = online.gold, open_annotator(online.gold, online.gold_kind)
        return name, self._by_reward if opened is None else opened.preferences

    def _by_reward(
        self, texts: Sequence[Text], ours: Sequence[Generation], theirs: Sequence[Generation]
    ) -> list[float]:
        """1 where ours has the higher reward, ½ where they are equal."""
        both = zip(self.rewards(ours), self.rewards(theirs), strict=True)
        return [0.5 if x == y else float(x > y) for x, y in both]


def evaluate_rl(looker: Looker) -> Mapping[str, Any]:
    """Compare the trained policy with its start; writes samples.jsonl and evaluation.json."""
    parts = ("held_out", "win_rate", "length_controlled", "reward", "length", "kl", "best")
    evaluation: dict[str, Any] = dict.fromkeys(parts)
    rows: list[dict[str, Any]] = []
    if looker.asked:
        answers, before = looker.answers(), looker.before
        after = answers.generations
        shown = [prompt_text(looker.policy, list(p.ids)) for p in looker.asked]
        rows = sample_side_by_side(shown, lambda _: before, lambda _: after)
        entries = looker.compared(after)
        preferences = entries.pop("preferences")
        old, new = looker.rewards(before), looker.rewards(after)
        for row, x, y, p in zip(rows, old, new, preferences, strict=True):
            row |= {"before_reward": x, "after_reward": y, "preference": p}
        evaluation |= entries
        evaluation["reward"] = {
            "before": mean_by_prompt(old).plain(),
            "after": mean_by_prompt(new).plain(),
        }
        evaluation["length"] = length_record(
            [g.tokens for g in before],
            [g.tokens for g in after],
            before_ended=[g.ended for g in before],
            after_ended=[g.ended for g in after],
        )
        evaluation["kl"] = kl_to_initial(looker.recipe, looker.policy, looker.renderer, answers)
    write_jsonl(looker.folder / "samples.jsonl", rows)
    write_json(looker.folder / "evaluation.json", evaluation)
    return evaluation
