"""`luce eval alpaca-eval --outputs`: annotations by a judge, in alpaca_eval's own format."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luce.annotate.judge import Plan
from luce.errors import LuceError
from luce.evaluate.alpaca_outputs import Output, beside, read_outputs
from luce.files import write_json
from luce.recipe.judge_account import Account
from luce.recipe.judge_members import Member
from luce.recipe.judge_panel import Ruling, plan, rule
from luce.types import Comparison

PARSER = "logprobs_or_label"
"""How replies to the default template are read: the two labels by their log-probabilities where the
server gives them."""


@dataclass(frozen=True)
class Annotated:
    """The annotations that were written.

    Attributes:
        file: where they are.
        notes: what was left out, and how labels were read.
        account: of the asking.
    """

    file: Path
    notes: tuple[str, ...]
    account: Account


def annotate(
    outputs: Sequence[Path], against: Path, members: Sequence[Member], save: Path
) -> Annotated:
    """Annotations of every model's outputs against the baseline's, each shown in both orders.

    A preference is 1 + the mean P(the model's output wins) over the valid verdicts of both orders,
    from 1 to 2; null where none is valid. An instruction that is not answered yet is left out.

    Args:
        outputs: files of one model or several.
        against: the baseline's file; its rows number the instructions.
        save: where the annotations go, as a list.

    Raises:
        DataError: a file cannot be used.
        LuceError: nothing could be judged.
    """
    pairs, notes = _pairs(outputs, against)
    rulings = rule(members, [_comparison(*pair) for pair in pairs], both=True)
    verdicts: list[list[Ruling]] = [[] for _ in pairs]
    for ruling in rulings.found:
        verdicts[ruling.comparison].append(ruling)
    whole = [(p, said) for p, said in zip(pairs, verdicts, strict=True) if len(said) == 2]
    if not any(ruling.said.probability is not None for _, said in whole for ruling in said):
        raise LuceError(f"No annotation has a verdict. {' '.join(rulings.account.lines())}")
    name = " and ".join(member.name for member in members)
    write_json(save, [_annotation(*pair, said, name) for pair, said in whole])
    return Annotated(save, (*notes, *_how_read(rulings.found)), rulings.account)


def plan_annotations(outputs: Sequence[Path], against: Path, members: Sequence[Member]) -> Plan:
    """What `annotate` would ask, and its price; nothing is asked."""
    return plan(members, [_comparison(*pair) for pair in _pairs(outputs, against)[0]])


def _pairs(outputs: Sequence[Path], against: Path) -> tuple[list[tuple[Output, Output]], list[str]]:
    base = read_outputs(against)
    models: dict[str, list[Output]] = {}
    for path in outputs:
        for one in read_outputs(path):
            models.setdefault(one.model, []).append(one)
    pairs, notes = [], []
    for model, rows in models.items():
        found = beside(rows, base, against)
        for what, missing in (
            (f"instructions of {against} have no output of {model}", len(base) - len(found)),
            (f"outputs of {model} answer none of {against}", len(rows) - len(found)),
        ):
            if missing:
                notes.append(f"{missing:,} {what}, and are left out.")
        pairs += found
    if not pairs:
        raise LuceError(f"No output answers an instruction of {against}. Give the same set's.")
    return pairs, notes


def _comparison(base: Output, ours: Output) -> Comparison:
    return Comparison(base.instruction, base.text, ours.text)


def _annotation(
    base: Output, ours: Output, verdicts: Sequence[Ruling], name: str
) -> dict[str, Any]:
    known = [
        1 - ruling.said.probability for ruling in verdicts if ruling.said.probability is not None
    ]
    calls = [r.said.call for r in verdicts if r.said.call is not None]
    costs = [call.cost for call in calls if call.cost is not None]
    return {
        "instruction": base.instruction,
        "output_1": base.text,
        "generator_1": base.model,
        "output_2": ours.text,
        "generator_2": ours.model,
        "index": base.index,
        "annotator": name,
        "preference": 1 + math.fsum(known) / len(known) if known else None,
        "preference_by_order": {
            str(ruling.order): None if (p := ruling.said.probability) is None else 2 - p
            for ruling in verdicts
        },
        "raw_completion": {str(ruling.order): ruling.said.text for ruling in verdicts},
        "price_per_example": math.fsum(costs) if len(costs) == len(calls) else None,
        "time_per_example": math.fsum(call.reply.latency_s for call in calls),
    }


def _how_read(found: Sequence[Ruling]) -> list[str]:
    """Whether log-probabilities were asked for and some replies had none."""
    read = [
        ruling.said.call.reply.first_token is not None
        for ruling in found
        if ruling.said.label in ("m", "M") and ruling.said.call is not None
    ]
    if all(read):
        return []
    return [
        f"{read.count(False):,} of {len(read):,} verdicts are labels, 0 or 1: the judge gives no "
        "log-probabilities."
    ]
