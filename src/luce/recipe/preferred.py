"""Whom an annotator prefers on the prompts of a run: the trained policy or the initial one."""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from luce.annotate import opinions
from luce.annotate.scorers import Asked
from luce.data.prompts import prompt_texts
from luce.errors import LuceError, RecipeError
from luce.evaluate import Generation, win_rate_of_preferences
from luce.evaluate.length_controlled import length_controlled_win_rate
from luce.evaluate.length_controlled_result import JudgedPair
from luce.objectives.own import is_own
from luce.recipe.annotate import need_server
from luce.recipe.eval_grader import Grader, GraderSettings, Kind, load_grader, prefers
from luce.recipe.judge import own_annotator
from luce.recipe.prepare import Data, data_settings
from luce.recipe.sampling import groups_for_samples
from luce.recipe.schema import Recipe
from luce.types import Annotator, Comparison, Group, Place, Text

PEOPLE = "people:"
"""Before the name of a store of votes."""


@dataclass(frozen=True)
class Opened:
    """The annotator of a recipe, loaded.

    Attributes:
        annotator: P(a ≻ b) of comparisons.
        grade: prompts with their responses → the reward of each; None of one that only compares.
        members: the rewards by each member of an ensemble; None where there is none.
    """

    annotator: Annotator
    grade: Callable[[Sequence[Asked]], list[list[float]]] | None = None
    members: Callable[[Sequence[Asked]], list[list[list[float]]]] | None = None

    def preferences(
        self, texts: Sequence[Text], ours: Sequence[Generation], theirs: Sequence[Generation]
    ) -> list[float]:
        """P(ours ≻ theirs) of each prompt."""
        rows = zip(texts, ours, theirs, strict=True)
        return opinions(self.annotator, [Comparison(t, a.text, b.text) for t, a, b in rows])


def open_annotator(name: str, kind: Kind | None = None) -> Opened:
    """Load an annotator that a recipe names: a model, `module:function`, or `people:FILE`, the
    store of a page of `luce annotate`. A function of a prompt and responses grades, one of
    comparisons compares; people are waited for.

    Raises:
        LuceError: it is not there, or cannot be what it is said to be.
    """
    if name.startswith(PEOPLE):
        return Opened(_people(name.removeprefix(PEOPLE), kind))
    if not is_own(name):
        grader = load_grader(GraderSettings(name, kind))
        rewards = None if grader.probabilities else grader.grade
        return Opened(prefers(grader), rewards, grader.members)
    return of_function(name, own_annotator(name))


def _people(store: str, kind: Kind | None) -> Annotator:
    if kind is not None:
        raise LuceError(f"annotator_kind: {kind} is a kind of models, not of people ({store}).")
    need_server()
    from luce.annotate.server import People

    return People(store, told=lambda line: print(line, file=sys.stderr, flush=True))


def of_function(name: str, given: Callable[..., Any]) -> Opened:
    """A function as an annotator: of a prompt and responses it grades, of comparisons it compares;
    what it returns is checked where it is asked."""
    function: Any = given
    if not grades(function):
        return Opened(function)

    def grade(asked: Sequence[Asked]) -> list[list[float]]:
        return [[float(r) for r in function(prompt, list(texts))] for prompt, texts in asked]

    return Opened(prefers(Grader(name, grade, lambda prompt, texts: 0, None)), grade)


def grades(function: Callable[..., Any]) -> bool:
    """Whether a function takes a prompt and responses, as scorers do, and not comparisons."""
    try:
        taken = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # written in another language: nothing to be read
        return False
    needed = [
        p
        for p in taken
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return len(needed) == 2


def check_annotator(recipe: Recipe) -> None:
    """Raise before training where the annotator of the samples cannot do its work afterwards."""
    settings = recipe.evaluate
    if settings.annotator is None:
        return
    if recipe.model.kind != "policy" or settings.sample_prompts == 0:
        raise RecipeError(
            "recipe.evaluate.annotator: compares samples of a policy, and there are none. Leave it "
            "out, or set `model.kind: policy` and `evaluate.sample_prompts`."
        )
    try:
        opened = open_annotator(settings.annotator, settings.annotator_kind)
    except LuceError as error:
        raise RecipeError(f"recipe.evaluate.annotator: {error}") from None
    if settings.best == "reward" and opened.grade is None:
        raise RecipeError(
            f"recipe.evaluate.best: {settings.annotator} compares two responses and gives no "
            "reward of one. Set `best: win_rate`, or name a reward model as the annotator."
        )


def preferred(
    recipe: Recipe, data: Data, before: Sequence[Generation], after: Sequence[Generation]
) -> tuple[dict[str, Any], list[float]]:
    """Entries of evaluation.json, `win_rate` against the initial policy and `length_controlled`,
    and P(the trained policy's response is better) on each prompt.

    Args:
        before, after: the responses to the run's sample prompts, in their order.

    Raises:
        RecipeError: a prompt is not found again in its file.
    """
    groups = groups_for_samples(data.held_out or data.train, recipe.evaluate.sample_prompts)
    texts = texts_of(recipe, data, groups)
    settings = recipe.evaluate
    opened = open_annotator(str(settings.annotator), settings.annotator_kind)
    found = opened.preferences(texts, after, before)
    seed, name = recipe.train.seed, str(settings.annotator)
    return compared(found, after, before, against="initial", annotator=name, seed=seed), found


def compared(
    preferences: Sequence[float],
    ours: Sequence[Generation],
    theirs: Sequence[Generation],
    *,
    against: str,
    annotator: str,
    seed: int,
) -> dict[str, Any]:
    """`win_rate` and `length_controlled` of P(ours ≻ theirs) on each prompt, as evaluation.json has
    them."""
    rate = win_rate_of_preferences(preferences, seed=seed)
    pairs = [
        JudgedPair("trained", i, p, new.tokens, old.tokens, against)
        for i, (p, new, old) in enumerate(zip(preferences, ours, theirs, strict=True))
    ]
    equal = length_controlled_win_rate(pairs, seed=seed)["trained"]
    controlled = equal.length_controlled.flat("value") | {
        "n": equal.length_controlled.n,
        "standard_error": equal.standard_error,
        "longer": equal.longer,
    }
    return {
        "win_rate": rate.record(against=against, annotator=annotator),
        "length_controlled": controlled,
    }


def texts_of(recipe: Recipe, data: Data, groups: Sequence[Group]) -> list[Text]:
    """The prompt of each group, out of the file that it came from.

    Raises:
        RecipeError: a prompt is not found again.
    """
    own = data.evaluation is not None and bool(data.held_out)
    source = str(recipe.data.eval) if own else recipe.data.path
    settings = data_settings(recipe)
    settings = replace(settings, split=None, limit=None) if own else settings
    found: Mapping[Place, Text] = prompt_texts(source, settings, [g.place for g in groups])
    missing = [g.place for g in groups if g.place not in found]
    if missing:
        raise RecipeError(f"recipe.evaluate.annotator: {missing[0]}: no such row any more.")
    return [found[g.place] for g in groups]
