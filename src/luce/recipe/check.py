"""`luce check`: what would be trained, row by row where it matters, without training.

The very model, renderer and reader of `luce train` are used, so what is shown is what would run.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from luce.data.ledger import tally
from luce.data.pack import micro_batches
from luce.data.preview import GroupView, preview
from luce.data.template import Renderer
from luce.models.logprob import COLUMNS
from luce.models.policy import CausalPolicy
from luce.models.reference import adapter_off
from luce.models.reward import RewardModel
from luce.recipe.load import Resolved, load_recipe, written
from luce.recipe.memory import MemoryEstimate, estimate_memory
from luce.recipe.prepare import Data, compares, doubts, open_recipe, train_settings
from luce.train.order import rows_of_step
from luce.train.settings import TrainSettings
from luce.types import Group

SHOWN = 3
"""Rows shown token by token."""

HEAVY = 16
"""Steps that are cut into micro-batches to find the one that takes the most memory."""


@dataclass(frozen=True)
class Findings:
    """What a recipe comes to.

    Attributes:
        resolved: every value of the recipe.
        facts: (what, value) lines about model, objective, data and steps.
        counts: of rows, groups, tokens, and of the ledger by `action/reason`.
        rows: the first rows as the model sees them.
        ledger: every row that is dropped, changed or noted.
        doubts: what is allowed, but hardly meant.
        violations: invariants that a row breaks; none in a healthy recipe.
        memory: of one optimizer step.
    """

    resolved: Resolved
    facts: list[tuple[str, str]]
    counts: dict[str, int]
    rows: list[GroupView]
    ledger: list[dict[str, Any]]
    doubts: list[str]
    violations: list[str]
    memory: MemoryEstimate


def check(resolved: Resolved) -> Findings:
    """Load the model, read and tokenize the rows, and look at them.

    Raises:
        LuceError: as `luce train` would, before its first step.
    """
    recipe, objective = resolved.recipe, resolved.objective
    model, renderer, data = open_recipe(resolved)
    settings = train_settings(recipe)
    steps = settings.total_steps(len(data.train))
    memory = step_memory(resolved, model, data)
    whole, trained = model.counts()
    groups = [*data.train, *data.held_out]
    facts = [
        ("model", f"{recipe.model.path} ({recipe.model.kind}, {model.dtype})"),
        ("trained", f"{trained:,} of {whole:,} weights"),
        ("layout", f"{model.layout}: {model.layout_reason}"),
        ("objective", f"{objective.name}: {objective.formula}"),
        ("reference", recipe.reference if compares(objective) else "not used"),
        *([("history", recipe.history)] if recipe.history is not None else []),
        ("data", f"{data.dataset.source}, read as {data.dataset.format_name}: "
                 f"{data.dataset.format_reason}"),
        ("template", renderer.origin),
        ("end of turn", f"{model.tokenizer.convert_ids_to_tokens(renderer.terminator)} "
                        f"(id {renderer.terminator})"),
        ("rows", f"{len(data.train)} train, {len(data.held_out)} held out"),
        ("length", _lengths(groups, recipe.data.max_length)),
        ("steps", f"{steps} of {recipe.train.batch_size} rows"),
    ]  # fmt: skip
    return Findings(
        resolved=resolved,
        facts=facts,
        counts=data.dataset.counts,
        rows=[preview(group, model.tokenizer) for group in data.train[:SHOWN]],
        ledger=[dict(e) for e in data.ledger],
        doubts=doubts(objective, data),
        violations=violations(groups, renderer),
        memory=memory,
    )


def step_memory(
    resolved: Resolved, model: CausalPolicy | RewardModel, data: Data
) -> MemoryEstimate:
    """What the heaviest step of the run takes."""
    recipe, needs = resolved.recipe, resolved.objective.needs
    copied = isinstance(model, CausalPolicy) and not adapter_off(recipe.reference, model)
    return estimate_memory(
        model,
        heaviest_step(data.train, train_settings(recipe)),
        [name for name in COLUMNS if name in needs],
        copied="kl" in needs and copied,
        checkpointing=recipe.train.gradient_checkpointing,
    )


def violations(groups: Sequence[Group], renderer: Renderer) -> list[str]:
    """Rows that break what every row must keep: a non-empty prompt, a scored token in each
    response, its end-of-turn token scored and last, at most one BOS, and none in a response."""
    found = []
    bos, end = renderer.tokenizer.bos_token_id, renderer.terminator
    for group in groups:
        if len(group.prompt) == 0:
            found.append(f"{group.place}: the prompt has no token.")
        if bos is not None and bos != end and int((group.prompt == bos).sum()) > 1:
            found.append(f"{group.place}: the prompt has more than one BOS token.")
        for number, branch in enumerate(group.branches):
            where = f"{group.place}: response {number + 1}"
            if not branch.scored.any():
                found.append(f"{where} has no scored token.")
            elif branch.ids[-1] != end or not branch.scored[-1]:
                found.append(f"{where} does not end with its scored end-of-turn token.")
            if bos is not None and bos != end and bool((branch.ids == bos).any()):
                found.append(f"{where} holds a BOS token.")
    return found


def check_command(recipe: str, overrides: Sequence[str], as_json: bool) -> int:
    """`luce check`: prints the findings; 1 where a row breaks an invariant, else 0."""
    findings = check(load_recipe(recipe, overrides))
    if as_json:
        json.dump(_plain(findings), sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")
    else:
        sys.stdout.write(as_text(findings))
    return 1 if findings.violations else 0


def as_text(findings: Findings) -> str:
    """The findings for people."""
    width = max(len(name) for name, _ in findings.facts)
    lines = [f"{name.ljust(width)}  {value}" for name, value in findings.facts]
    lines += ["", "rows as the model sees them (⟦scored⟧; a star marks a scored id):"]
    lines += [str(row) for row in findings.rows]
    lines += ["", "counts:"]
    lines += [f"  {n:>9,}  {name.replace('_', ' ')}" for name, n in findings.counts.items()]
    if findings.ledger:
        lines += ["", "rows dropped, changed or noted (all of them go to rows.jsonl of the run):"]
        for e in findings.ledger[:10]:
            place = f"{e['file']}:{e['line']}" + (f": {e['field']}" if e["field"] else "")
            lines.append(f"  {place}: {e['action']}: {e['detail']}")
        if len(findings.ledger) > 10:
            lines.append(f"  … and {len(findings.ledger) - 10} more")
    lines += ["", *memory_lines(findings.memory)]
    lines += ["", *(f"warning: {doubt}" for doubt in findings.doubts)] if findings.doubts else []
    if findings.violations:
        lines += ["", f"{len(findings.violations)} violations:"]
        lines += [f"  {v}" for v in findings.violations[:10]]
    else:
        lines += ["", "no violation: every row has one prompt, scored responses, and one end each."]
    return "\n".join(lines) + "\n"


def heaviest_step(groups: Sequence[Group], settings: TrainSettings) -> list[list[Group]]:
    """The micro-batches of the step of this very run whose largest one has the most tokens."""
    sizes = np.array([group.tokens for group in groups])
    steps, size = settings.total_steps(len(groups)), settings.batch_size
    last, budget = settings.visits(len(groups)), settings.max_tokens_per_batch

    def rows(step: int) -> list[int]:
        return rows_of_step(len(groups), size, settings.seed, step, last)

    # a step of many tokens fills its micro-batches; among full ones a long row decides
    load = [(min(sizes[r].sum(), budget), sizes[r].max()) for r in map(rows, range(steps))]
    found: list[list[Group]] = []
    for step in sorted(range(steps), key=load.__getitem__)[-HEAVY:]:
        these = [groups[i] for i in rows(step)]
        parts = [[these[i] for i in part] for part in micro_batches(these, budget)]
        found = max(found, parts, key=lambda p: max((_tokens(part) for part in p), default=0))
    return found


def _tokens(groups: Sequence[Group]) -> int:
    return sum(group.tokens for group in groups)


def memory_lines(memory: MemoryEstimate) -> list[str]:
    """The estimate for people."""
    lines = ["memory of training at its highest, estimated:"]
    lines += [f"  {size:>10}  {part}" for part, size in memory.lines()]
    return [*lines, *([f"  by a formula: {memory.how}"] if memory.how else [])]


def _lengths(groups: Sequence[Group], limit: int) -> str:
    longest = np.array([g.longest for g in groups])
    median, most = np.quantile(longest, [0.5, 0.95])
    return (
        f"prompt with longest response: median {median:.0f}, 95 % below {most:.0f}, longest "
        f"{longest.max()} of {limit} tokens"
    )


def _plain(findings: Findings) -> dict[str, Any]:
    return {
        "recipe": written(findings.resolved.recipe),
        "facts": dict(findings.facts),
        "counts": findings.counts,
        "rows": [asdict(row) for row in findings.rows],
        "ledger": findings.ledger,
        "ledger_counts": dict(tally(findings.ledger)),
        "warnings": findings.doubts,
        "violations": findings.violations,
        "memory_bytes": asdict(findings.memory) | {"total": findings.memory.total},
    }
