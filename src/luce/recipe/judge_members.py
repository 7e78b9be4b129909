"""Who judges: a prompted model, a model that grades, or a function; alone, or several as a jury."""

import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from luce.annotate.judge import Backend, Judge, Limits, OpenAICompatible, Prices, judge
from luce.errors import LuceError
from luce.types import Annotator


@dataclass(frozen=True)
class Prompted:
    """A language model that is asked.

    Attributes:
        model: its name at the server, or where it lies.
        base_url: of the server, up to `/v1`; None: OpenAI's.
        key_variable: the environment variable that holds the key.
        template: a name of a built-in one, or a file.
        parser: how to read its replies; None: as the template says.
        store: where every call is kept.
        prices: USD per million tokens in and out; None where unknown.
        limits: how fast, how often and for how much.
        here: it is run in this process, by a chat template of its own.
    """

    model: str
    base_url: str | None = None
    key_variable: str | None = None
    template: str = "pairwise"
    parser: str | None = None
    store: str | None = None
    prices: tuple[float, float] | None = None
    limits: Limits = Limits()
    here: bool = False


@dataclass(frozen=True)
class Member:
    """One who judges.

    Attributes:
        name: what tables and rows call it.
        annotator: P(a ≻ b) of comparisons; a `Judge` where a model is prompted.
    """

    name: str
    annotator: Annotator


def prompted(asked: Prompted, backend: Backend | None = None) -> Judge:
    """The judge that asks a model.

    Args:
        backend: one that is loaded already; None: loaded here.

    Raises:
        LuceError: no such template, or the model or the store cannot be opened.
    """
    named = Path(asked.template) if Path(asked.template).suffix else asked.template
    return judge(
        backend_of(asked) if backend is None else backend,
        named,
        store=asked.store,
        parser=asked.parser,
        limits=asked.limits,
    )


def backend_of(asked: Prompted) -> Backend:
    """The server, or the model loaded into this process."""
    if asked.here:
        from luce.annotate.judge.local import LocalBackend
        from luce.data.template import Renderer
        from luce.models.policy import load_policy
        from luce.recipe.folders import inside

        policy = load_policy(inside(asked.model))
        return LocalBackend(policy, Renderer(policy.tokenizer), Path(asked.model).name)
    settings: dict[str, Any] = {"model": asked.model, "api_key_env": asked.key_variable}
    if asked.base_url is not None:
        settings["base_url"] = asked.base_url
    if asked.prices is not None:
        settings["prices"] = Prices(*asked.prices)
    return OpenAICompatible(**settings)


def only_judge(members: Sequence[Member], why: str) -> Judge:
    """The one prompted model among those who judge.

    Raises:
        LuceError: there are several, or it is a function or a model that grades; `why` says what
            one is needed for.
    """
    if len(members) == 1 and isinstance(members[0].annotator, Judge):
        return members[0].annotator
    raise LuceError(f"{why} Name one model that is asked, with --judge or --local.")


def within(judge: Judge, spent: float) -> Judge:
    """The judge with so much less to spend, where it has a limit."""
    limits = judge.setup.limits
    if limits.max_cost is None:
        return judge
    left = replace(limits, max_cost=max(0.0, limits.max_cost - spent))
    return replace(judge, setup=replace(judge.setup, limits=left))


def better_reward(model: str, kind: str | None, reference: str | None = None) -> Annotator:
    """The annotator of a model that grades: 1 where the first response has the higher grade, 0
    where it has the lower, ½ where they are equal. A pairwise model gives its own probability.

    Args:
        model: a folder in HF format, a hub name, or the folder of a run.
        kind: reward, pairwise or policy; None: what the model is.
        reference: of a policy's implicit reward.
    """
    from luce.recipe.eval_grader import GraderSettings, load_grader, prefers

    settings: Any = GraderSettings(model, kind, reference)  # type: ignore[arg-type]
    return prefers(load_grader(settings))


def own_annotator(name: str) -> Annotator:
    """The annotator at `package.module:name`; the current folder is importable.

    Raises:
        LuceError: there is no such module or name, or it is no function.
    """
    module, _, attribute = name.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = getattr(importlib.import_module(module), attribute, None)
    except ImportError as error:
        raise LuceError(f"annotator {name!r}: {error}.") from None
    finally:
        sys.path.remove(os.getcwd())
    if not attribute or not callable(found):
        raise LuceError(
            f"annotator {name!r}: is no `module:function` that takes comparisons and gives "
            "P(a ≻ b) of each."
        )
    function: Any = found  # what it returns is checked where it is asked
    return function
