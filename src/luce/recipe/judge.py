"""`luce judge`: who is better, by whom you trust: a reward model, a pairwise model, a prompted
model, or a function of yours. Every verdict goes to a file that `luce eval win-rate` reads."""

import hashlib
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luce.annotate import opinions
from luce.annotate.judge import (
    Backend,
    Judge,
    JudgeRun,
    Limits,
    OpenAICompatible,
    Plan,
    Prices,
    judge,
)
from luce.errors import LuceError
from luce.files import write_jsonl
from luce.objectives.own import is_own
from luce.recipe.eval_verdicts import PairVerdict, read_verdicts
from luce.recipe.eval_win_rate import WinRates, win_rates
from luce.recipe.judge_sides import Side, compared
from luce.types import Annotator, Comparison, Text


@dataclass(frozen=True)
class Prompted:
    """A language model that is asked.

    Attributes:
        model: its name at the server, or where it lies.
        base_url: of the server, up to `/v1`; None: OpenAI's.
        key_variable: the environment variable that holds the key.
        template: a name of a built-in one, or a file.
        store: where every call is kept.
        prices: USD per million tokens in and out; None where unknown.
        limits: how fast, how often and for how much.
        here: it is run in this process, by a chat template of its own.
    """

    model: str
    base_url: str | None = None
    key_variable: str | None = None
    template: str = "pairwise"
    store: str | None = None
    prices: tuple[float, float] | None = None
    limits: Limits = Limits()
    here: bool = False


@dataclass(frozen=True)
class Judged:
    """What was judged.

    Attributes:
        file: of the verdicts.
        rates: win rates of the first side over the second.
        notes: what was left out, and what is not judged yet.
        complete: whether every comparison has its verdicts.
    """

    file: Path
    rates: WinRates | None
    notes: tuple[str, ...]
    complete: bool

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "verdicts": str(self.file),
            "complete": self.complete,
            "notes": list(self.notes),
            "result": None if self.rates is None else self.rates.plain(),
        }

    def lines(self) -> list[str]:
        """For people."""
        told = [] if self.rates is None else self.rates.lines()
        return [*told, *self.notes, f"verdicts: {self.file}"]


def judge_by_annotator(a: Side, b: Side, annotator: Annotator, out: Path, seed: int = 0) -> Judged:
    """Every comparison by an annotator that takes both responses together: one verdict each."""
    comparisons, notes = compared(a, b)
    found = opinions(annotator, comparisons)
    rows = [
        _row(c, PairVerdict(_prompt(c.prompt), a.name, b.name, p))
        for c, p in zip(comparisons, found, strict=True)
    ]
    return _told(rows, out, notes, True, seed)


def judge_by_prompt(a: Side, b: Side, asked: Prompted, out: Path, seed: int = 0) -> Judged:
    """Every comparison in both orders by a prompted model. What is stored is not asked again; what
    cannot be asked now is told, and asked by the next call."""
    comparisons, notes = compared(a, b)
    ids = [str(i) for i in range(len(comparisons))]
    run: JudgeRun = _judge(asked).run(comparisons, ids=ids)
    rows = []
    for verdict in run.verdicts:
        c = comparisons[int(verdict.comparison)]
        made = PairVerdict(
            _prompt(c.prompt), a.name, b.name, verdict.probability, verdict.reason, verdict.order
        )
        rows.append(_row(c, made))
    if run.pending:
        notes.append(run.left())
    return _told(rows, out, notes, not run.pending, seed)


def plan_by_prompt(a: Side, b: Side, asked: Prompted) -> Plan:
    """What `judge_by_prompt` would ask, and its price; nothing is asked."""
    return _judge(asked).plan(compared(a, b)[0])


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


def annotator_named(name: str, kind: str | None = None) -> Annotator:
    """The annotator that a recipe names: `module:function`, or a model as for `better_reward`."""
    return own_annotator(name) if is_own(name) else better_reward(name, kind)


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


def _backend(asked: Prompted) -> Backend:
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


def _judge(asked: Prompted) -> Judge:
    return judge(
        _backend(asked),
        Path(asked.template) if Path(asked.template).suffix else asked.template,
        store=asked.store,
        limits=asked.limits,
    )


def _prompt(prompt: Text) -> str:
    if isinstance(prompt, str):
        return prompt
    told = "\n".join(f"{turn.get('role')}: {turn.get('content')}" for turn in prompt)
    return told or hashlib.sha256(repr(prompt).encode()).hexdigest()


def _row(comparison: Comparison, verdict: PairVerdict) -> dict[str, Any]:
    texts = {"response_a": comparison.a, "response_b": comparison.b}
    return verdict.plain() | texts


def _told(
    rows: list[dict[str, Any]], out: Path, notes: list[str], complete: bool, seed: int
) -> Judged:
    write_jsonl(out, rows)
    rates = None
    if any(row["preference"] is not None for row in rows):
        verdicts, unit = read_verdicts([out])
        rates = win_rates(verdicts, unit=unit, seed=seed)
    return Judged(out, rates, tuple(notes), complete)
