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
from luce.recipe.load import Resolved, load_recipe, written
from luce.recipe.memory import MemoryEstimate, estimate_memory
from luce.recipe.prepare import Data, compares, doubts, open_recipe, train_settings
from luce.types import Group

SHOWN = 3
"""Rows shown token by token."""


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
    longest = max(sum(data.train[i].tokens for i in part) for part in _parts(data, settings))
    distributions = "kl" in objective.needs
    # the network under an adapter serves as its own reference
    shared = recipe.reference == "base" or (
        recipe.reference == "initial" and recipe.model.lora is not None
    )
    memory = estimate_memory(
        model.inner.config.get_text_config(),
        dict(model.module.named_parameters()),
        model.trainable(),
        longest,
        half=recipe.train.bf16 or model.dtype in ("bfloat16", "float16"),
        checkpointing=recipe.train.gradient_checkpointing,
        distributions=distributions,
        copied=distributions and not shared,
    )
    trained = sum(p.numel() for p in model.trainable().values())
    whole = sum(p.numel() for p in model.module.parameters())
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
        ("template", "luce's default" if renderer.default_template else "the model's own"),
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
    lines += ["", "memory of a step, estimated:"]
    lines += [f"  {size:>10}  {part}" for part, size in findings.memory.lines()]
    lines += ["", *(f"warning: {doubt}" for doubt in findings.doubts)] if findings.doubts else []
    if findings.violations:
        lines += ["", f"{len(findings.violations)} violations:"]
        lines += [f"  {v}" for v in findings.violations[:10]]
    else:
        lines += ["", "no violation: every row has one prompt, scored responses, and one end each."]
    return "\n".join(lines) + "\n"


def _parts(data: Data, settings: Any) -> list[list[int]]:
    """Micro-batches of the rows that cost most: the longest of them, a step's worth."""
    order = sorted(range(len(data.train)), key=lambda i: -data.train[i].tokens)
    step = order[: settings.batch_size]
    parts = micro_batches([data.train[i] for i in step], settings.max_tokens_per_batch)
    return [[step[i] for i in part] for part in parts]


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
