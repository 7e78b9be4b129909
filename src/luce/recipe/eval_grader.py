"""A model that grades responses, whatever its kind: for benchmarks of reward models."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from pathlib import Path
from typing import Literal, TypeAlias

from transformers import AutoConfig

from luce.annotate import opinions
from luce.annotate.pairwise import pairwise_annotator
from luce.annotate.scorers import Asked, graded, policy_scorer, reward_scorer
from luce.data.ordered import LETTERS, ordered_text, question
from luce.data.template import Render, Renderer
from luce.errors import LuceError, ModelError
from luce.models.policy import CausalPolicy, load_policy
from luce.models.reward import RewardModel, load_reward_model
from luce.recipe.folders import inside
from luce.recipe.load import read_recipe
from luce.types import Annotator, Comparison, Text

Kind: TypeAlias = Literal["reward", "pairwise", "policy"]

_HEAD = "ForSequenceClassification"


@dataclass(frozen=True)
class GraderSettings:
    """Which model grades, and how.

    Attributes:
        model: a folder in HF format, a hub name, or the folder of a run.
        kind: None: what the run's recipe says, else a reward model where it has the head of one,
            and a policy where not.
        reference: of a policy: π_ref of its implicit reward; None: log π alone.
        per_token: of a policy: the mean over the response's tokens.
        render: None: what the run's recipe says, else chat.
    """

    model: str
    kind: Kind | None = None
    reference: str | None = None
    per_token: bool = False
    render: Render | None = None


@dataclass(frozen=True)
class Grader:
    """A loaded model.

    Attributes:
        about: what its grades are, in words.
        grade: prompts with their responses → a grade of each response.
        longest: a prompt and its responses → tokens of the longest text that it would read.
        room: tokens that it can read; None where that is not known.
        probabilities: whether the grades of two responses are P(the one beats the other) and 1 less
            that, rather than numbers of which the higher wins.
        members: of an ensemble: the grades by each member, member by member; else None.
    """

    about: str
    grade: Callable[[Sequence[Asked]], list[list[float]]]
    longest: Callable[[Text, Sequence[str]], int]
    room: int | None
    probabilities: bool = False
    members: Callable[[Sequence[Asked]], list[list[list[float]]]] | None = None


def load_grader(settings: GraderSettings) -> Grader:
    """The model with its grades: rewards; the log-ratio log π/π_ref or log π of a policy, to which
    the implicit reward of DPO is proportional (Rafailov et al., 2023, arXiv 2305.18290, eq. 6); of
    a pairwise model the mean probability that a response beats each of the others.

    Raises:
        ModelError: the model cannot be loaded, or has no head to give a reward with.
        LuceError: settings do not go together.
    """
    path, kind, render = _resolved(settings)
    if kind != "policy" and (settings.reference is not None or settings.per_token):
        raise LuceError(
            f"{settings.model}: a {kind} model; --reference and --per-token are of the implicit "
            "reward of a policy. Leave them out, or say --kind policy."
        )
    if kind == "policy":
        return _policy(path, settings, render)
    if kind == "pairwise" and not _has_head(path):
        model = load_policy(path)
    elif _has_head(path):
        model = load_reward_model(path)
    else:
        raise ModelError(
            f"{path}: a language model without the head of a reward model, which would grade at "
            "random. Give a reward model, or say --kind policy for its implicit reward."
        )
    renderer = Renderer(model.tokenizer, render=render)
    room = _room(model)
    if isinstance(model, RewardModel) and kind == "reward":
        scorer = reward_scorer(model, renderer)
        members = by_member(model, renderer) if model.heads.kind == "ensemble" else None
        return Grader(
            f"rewards of {settings.model}", scorer.many, _plain(renderer), room, members=members
        )
    shown = _ordered(renderer) if isinstance(model, RewardModel) else _questions(renderer)
    about = f"mean P(a response beats each of the others) by {settings.model}"
    return Grader(about, mean_wins(pairwise_annotator(model, renderer)), shown, room, True)


def by_member(
    model: RewardModel, renderer: Renderer
) -> Callable[[Sequence[Asked]], list[list[list[float]]]]:
    """Grades by each member of an ensemble: prompts with their responses → for each prompt, member
    by member, a grade of each response."""
    scorers = [reward_scorer(model, renderer, annotator=name) for name in model.heads.names]

    def grade(asked: Sequence[Asked]) -> list[list[list[float]]]:
        each = [scorer.many(asked) for scorer in scorers]
        return [list(of_prompt) for of_prompt in zip(*each, strict=True)]

    return grade


def mean_wins(annotator: Annotator) -> Callable[[Sequence[Asked]], list[list[float]]]:
    """Grades of an annotator: the mean of P(a response beats another) over the others (its Borda
    score, in [0, 1]); of two responses P(the first wins) and 1 less that."""

    def grade(asked: Sequence[Asked]) -> list[list[float]]:
        pairs = [
            (number, i, j)
            for number, (_, responses) in enumerate(asked)
            for i, j in combinations(range(len(responses)), 2)
        ]
        shown = [
            Comparison(asked[k][0], str(asked[k][1][i]), str(asked[k][1][j])) for k, i, j in pairs
        ]
        found = [[0.0] * len(responses) for _, responses in asked]
        for (k, i, j), p in zip(pairs, opinions(annotator, shown), strict=True):
            found[k][i] += p
            found[k][j] += 1 - p
        return [[won / max(1, len(row) - 1) for won in row] for row in found]

    return grade


def prefers(grader: Grader) -> Annotator:
    """The annotator of a grader: 1 where the first response has the higher grade, 0 where it has
    the lower, ½ where they are equal; or the grader's own probability. A grade that is no finite
    number orders nothing, and is an error."""

    def annotate(comparisons: Sequence[Comparison]) -> list[float]:
        grades = grader.grade([(c.prompt, [c.a, c.b]) for c in comparisons])
        for number, two in enumerate(grades):
            if not all(map(math.isfinite, two)):
                raise LuceError(
                    f"{grader.about}: the grades of comparison {number} are {two}, and say of "
                    "neither response that it is better. Mend the grader, or leave the row out."
                )
        if grader.probabilities:
            return [x for x, _ in grades]
        return [0.5 if x == y else float(x > y) for x, y in grades]

    return annotate


def _resolved(settings: GraderSettings) -> tuple[str, Kind, Render]:
    """The model's own folder, its kind and how it renders."""
    path, kind, render = inside(settings.model), settings.kind, settings.render
    written = Path(settings.model) / "recipe.yaml"
    if path != settings.model and written.exists():
        recipe, _ = read_recipe(written)
        kind, render = kind or recipe.model.kind, render or recipe.data.render
    if kind is None:
        kind = "reward" if _has_head(path) else "policy"
    return path, kind, render or "chat"


def _has_head(path: str) -> bool:
    adapter = Path(path) / "adapter_config.json"
    if adapter.exists():
        return json.loads(adapter.read_text(encoding="utf-8")).get("task_type") == "SEQ_CLS"
    try:
        names = AutoConfig.from_pretrained(path).architectures or []
    except (OSError, ValueError):  # nothing that could be loaded: loading says why
        return False
    return any(name.endswith(_HEAD) for name in names)


def _policy(path: str, settings: GraderSettings, render: Render) -> Grader:
    policy = load_policy(path)
    renderer = Renderer(policy.tokenizer, render=render)
    reference = None
    if settings.reference is not None:
        reference = load_policy(inside(settings.reference))
    scorer = policy_scorer(policy, renderer, reference, per_token=settings.per_token)
    score = "log π" if reference is None else "log π/π_ref"
    mean = ", mean over tokens" if settings.per_token else ""
    against = f" against {settings.reference}" if reference is not None else ""
    about = f"{score}{mean}, nats, of {settings.model}{against}"
    return Grader(about, scorer.many, _plain(renderer), _room(policy))


def _plain(renderer: Renderer) -> Callable[[Text, Sequence[str]], int]:
    """Of models that read one response."""
    return lambda prompt, responses: _longest(renderer, prompt, responses)


def _ordered(renderer: Renderer) -> Callable[[Text, Sequence[str]], int]:
    """Of models that read two responses as one."""

    def longest(prompt: Text, responses: Sequence[str]) -> int:
        return _longest(
            renderer, prompt, [ordered_text(*two) for two in permutations(responses, 2)]
        )

    return longest


def _questions(renderer: Renderer) -> Callable[[Text, Sequence[str]], int]:
    """Of models that are asked which of two responses is better."""

    def longest(prompt: Text, responses: Sequence[str]) -> int:
        asked = [question(prompt, *two) for two in permutations(responses, 2)]
        return max(_longest(renderer, text, LETTERS) for text in asked)

    return longest


def _longest(renderer: Renderer, prompt: Text, responses: Sequence[str]) -> int:
    group = graded(renderer, 0, prompt, responses)
    return 0 if group is None else group.longest


def _room(model: CausalPolicy | RewardModel) -> int | None:
    config = model.inner.config.get_text_config()
    return getattr(config, "max_position_embeddings", None)
