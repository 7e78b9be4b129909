"""What a round's policy is worth: its answers to held-out prompts against those of the policy that
the run began with and of the round before, by the annotator and by the gold one, and how far it has
moved from both."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luce.data.template import Renderer
from luce.evaluate import Generation
from luce.evaluate.estimate import mean_by_prompt
from luce.evaluate.lengths import ended_share, mean_length
from luce.files import read_jsonl, write_jsonl
from luce.models.engine import Sample
from luce.models.policy import CausalPolicy
from luce.recipe.online_prompts import Prompt
from luce.recipe.preferred import Opened, compared
from luce.recipe.sampling import Answers, answer, kl_on, sampling_of
from luce.recipe.schema import Recipe
from luce.types import Text


@dataclass(frozen=True)
class Judges:
    """Who judges the answers: the annotator that is learned from, and one that is not.

    Attributes:
        annotator, gold: loads them; gold None where there is none.
    """

    annotator: Callable[[], Opened]
    gold: Callable[[], Opened] | None

    def named(self, recipe: Recipe) -> list[tuple[str, str, Callable[[], Opened]]]:
        """(role, name, how to load) of each."""
        assert recipe.online is not None
        found = [("annotator", recipe.online.annotator, self.annotator)]
        if self.gold is not None:
            found.append(("gold", str(recipe.online.gold), self.gold))
        return found


def answer_prompts(
    recipe: Recipe, policy: CausalPolicy, renderer: Renderer, prompts: Sequence[Prompt], path: Path
) -> Path:
    """Write one answer to each prompt, where the file is not there yet; every policy draws the same
    random numbers."""
    if not path.exists():
        asked = [list(p.ids) for p in prompts]
        found = answer(policy, renderer, asked, sampling_of(recipe.evaluate), recipe.train.seed)
        rows = [
            {"prompt": p.number, "text": g.text, "ids": list(s.ids), "ended": s.ended}
            for p, g, s in zip(prompts, found.generations, found.samples, strict=True)
        ]
        write_jsonl(path, rows)
    return path


def generations(path: Path) -> list[Generation]:
    """The answers in a file."""
    return [
        Generation(text=row["text"], tokens=len(row["ids"]), ended=row["ended"])
        for row in read_jsonl(path)
    ]


def evaluation_of(
    recipe: Recipe,
    prompts: Sequence[Prompt],
    judges: Judges,
    ours: Path,
    others: Mapping[str, Path],
) -> dict[str, Any]:
    """Lengths, rewards, and win rates over other policies' answers to the same prompts.

    Args:
        ours, others: files of answers; the others by what they are called.
    """
    now = generations(ours)
    record: dict[str, Any] = {
        "n": len(now),
        "length": mean_length([g.tokens for g in now]).plain(),
        "ended": ended_share([g.ended for g in now]).plain(),
    }
    texts, seed = [p.text for p in prompts], recipe.train.seed
    for role, name, load in judges.named(recipe):
        opened = load()
        rewards = {"": _rewards(opened, texts, now)}
        rewards |= {k: _rewards(opened, texts, generations(path)) for k, path in others.items()}
        found: dict[str, Any] = {"name": name}
        if opened.grade is not None:
            known = [r for r in rewards[""] if math.isfinite(r)]
            found["reward"] = mean_by_prompt(known).plain()
            found["not_finite"] = len(now) - len(known)
        for against, path in others.items():
            # a reward that is no number says of neither answer that it is better
            both = zip(rewards[""], rewards[against], strict=True)
            used = [i for i, (a, b) in enumerate(both) if math.isfinite(a) and math.isfinite(b)]
            mine, theirs = [now[i] for i in used], generations(path)
            theirs = [theirs[i] for i in used]
            if not used:
                continue
            preferences = opened.preferences([texts[i] for i in used], mine, theirs)
            found[against] = compared(
                preferences, mine, theirs, against=against, annotator=name, seed=seed
            )
        record[role] = found
    return record


def _rewards(opened: Opened, texts: Sequence[Text], answers: Sequence[Generation]) -> list[float]:
    """The reward of each answer; 0 of each where the annotator only compares."""
    if opened.grade is None:
        return [0.0] * len(answers)
    graded = opened.grade([(t, [g.text]) for t, g in zip(texts, answers, strict=True)])
    return [row[0] for row in graded]


def distances(
    recipe: Recipe,
    policy: CausalPolicy,
    prompts: Sequence[Prompt],
    ours: Path,
    others: Mapping[str, Callable[[], CausalPolicy]],
) -> dict[str, Any]:
    """KL(π ‖ other) of each, nats a response, on the policy's own answers; response tokens only.
    None where the answers were not drawn at temperature 1, so that the estimate would be of another
    policy, or where all of them are empty."""
    if recipe.evaluate.temperature != 1:
        return dict.fromkeys(others)
    rows = read_jsonl(ours)
    samples = [Sample(tuple(row["ids"]), (), row["ended"]) for row in rows]
    answers = Answers([list(p.ids) for p in prompts], samples, [])
    return kl_on(answers, policy, others, recipe.train.max_tokens_per_batch)
