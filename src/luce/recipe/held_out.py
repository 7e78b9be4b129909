"""How a trained model's margins fit the labels of held-out pairs, beside what needs no model."""

import hashlib
from collections.abc import Sequence
from typing import Any

from luce.diagnostics.baselines import TokenPair, bag_of_words, length_rule
from luce.diagnostics.calibration import calibration
from luce.diagnostics.length import length_dependence
from luce.evaluate import accuracy_gain, held_out_accuracy
from luce.objectives import Ensemble, Mixture, Objective
from luce.recipe.prepare import Data
from luce.types import CostFunction, Group


def fit_of_labels(
    margins: Sequence[float], objective: CostFunction, data: Data, ordered: bool = False
) -> dict[str, Any]:
    """Entries of evaluation.json: `calibration`, where σ(margin) is the probability that the
    objective fits, else None; `length_dependence`, in tokens; `baselines`, each with its accuracy
    and what the model gains on it.

    Args:
        margins: of `data.held_out`, pair by pair.
        ordered: the rows are those of a pairwise model, of which both responses hold the same
            text: length and baselines are None.
    """
    groups = data.held_out
    labels = [g.label for g in groups]
    prompts = [g.prompt.tobytes() for g in groups]
    found: dict[str, Any] = {"calibration": None, "length_dependence": None, "baselines": None}
    if gives_log_odds(objective):
        fit = calibration(margins, labels, prompts)
        found["calibration"] = fit.plain() | {"verdict": fit.verdict}
    if ordered:
        return found
    pairs = [token_pair(g) for g in groups]
    chosen, rejected = [len(pair.chosen) for pair in pairs], [len(pair.rejected) for pair in pairs]
    length = length_dependence(margins, chosen, rejected, labels, prompts)
    train = [token_pair(g) for g in data.train]
    name, by_length = length_rule(train, pairs)
    return found | {
        "length_dependence": length.plain(),
        "baselines": {
            name: _beside(margins, by_length),
            "bag of words": _beside(margins, bag_of_words(train, pairs)),
        },
    }


def held_out_rows(
    data: Data,
    margins: Sequence[float],
    initial: Sequence[float],
    log_ratios: Sequence[Sequence[float]] | None = None,
) -> list[dict[str, Any]]:
    """Lines of held_out.jsonl: every held-out pair with its margin before and after training, and
    what it may be looked up by. `tokens_*` count those scored; `log_ratio_*`, log π − log π₀ in
    nats, is there where `log_ratios` gives it."""
    rows = [
        named(group)
        | {
            "label": group.label,
            "margin": margin,
            "initial_margin": before,
            "tokens_chosen": int(group.branches[0].scored.sum()),
            "tokens_rejected": int(group.branches[1].scored.sum()),
        }
        for group, margin, before in zip(data.held_out, margins, initial, strict=True)
    ]
    for name, values in zip(("chosen", "rejected"), log_ratios or ()):  # noqa: B905 - may be empty
        for row, value in zip(rows, values, strict=True):
            row[f"log_ratio_{name}"] = value
    return rows


def named(group: Group) -> dict[str, Any]:
    """What a held-out row is looked up by: all that held_out.jsonl says of rows that are no pairs.
    `prompt` is a hash of its tokens."""
    return {
        "id": group.id,
        "file": group.place.file,
        "line": group.place.line,
        "prompt": hashlib.sha256(group.prompt.tobytes()).hexdigest()[:16],
        "source": group.source,
        "annotator": group.annotator,
    }


def gives_log_odds(objective: CostFunction) -> bool:
    """Whether σ(margin) is the probability that the objective gives a preference."""
    base = objective.base if isinstance(objective, Ensemble) else objective
    if isinstance(base, Mixture):
        return True
    # beside a probability of ties, those of the two preferences do not add up to 1
    return (
        isinstance(base, Objective) and base.loss.link == "σ(z)" and not base.parameters.get("ties")
    )


def token_pair(group: Group) -> TokenPair:
    """The scored tokens of a pair's responses, and its label."""
    chosen, rejected = (b.ids[b.scored] for b in group.branches)
    return TokenPair(chosen, rejected, group.label)


def _beside(margins: Sequence[float], baseline: Sequence[float]) -> dict[str, Any]:
    accuracy, gain = held_out_accuracy(baseline), accuracy_gain(margins, baseline)
    return {
        "n": accuracy.n,
        "accuracy": accuracy.value,
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
        **gain.flat("gain"),
    }
