"""How a trained model's margins fit the labels of held-out pairs, beside what needs no model."""

from collections.abc import Sequence
from typing import Any

from luce.diagnostics.baselines import TokenPair, bag_of_words, length_rule
from luce.diagnostics.calibration import calibration
from luce.diagnostics.length import length_dependence
from luce.evaluate import accuracy_gain, held_out_accuracy
from luce.objectives import Mixture, Objective
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
    logistic = isinstance(objective, Objective) and objective.loss.link == "σ(z)"
    if logistic or isinstance(objective, Mixture):
        fit = calibration(margins, labels, prompts)
        found["calibration"] = fit.plain() | {"verdict": fit.verdict}
    if ordered:
        return found
    pairs = [_tokens(g) for g in groups]
    chosen, rejected = [len(pair.chosen) for pair in pairs], [len(pair.rejected) for pair in pairs]
    length = length_dependence(margins, chosen, rejected, labels, prompts)
    train = [_tokens(g) for g in data.train]
    name, by_length = length_rule(train, pairs)
    return found | {
        "length_dependence": length.plain(),
        "baselines": {
            name: _beside(margins, by_length),
            "bag of words": _beside(margins, bag_of_words(train, pairs)),
        },
    }


def _tokens(group: Group) -> TokenPair:
    chosen, rejected = (b.ids[b.scored] for b in group.branches)
    return TokenPair(chosen, rejected, group.label)


def _beside(margins: Sequence[float], baseline: Sequence[float]) -> dict[str, Any]:
    accuracy, gain = held_out_accuracy(baseline), accuracy_gain(margins, baseline)
    return {
        "n": accuracy.n,
        "accuracy": accuracy.value,
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
        "gain": gain.value,
        "gain_low": gain.low,
        "gain_high": gain.high,
    }
