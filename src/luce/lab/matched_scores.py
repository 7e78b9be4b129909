"""One annotator, two rules, two scores: what a model writes after learning from judgements by its
own rule, and by the other."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from luce.lab.experiment import Check, Experiment, Result, above, below, over_seeds
from luce.lab.figures import legend_below, panels
from luce.lab.text_annotators import (
    EQ_9,
    EQ_26,
    LUCE,
    QUICK,
    SOURCE,
    Plan,
    Start,
    adapt,
    built_in,
    one_thread,
    preferred,
    prepare,
)
from luce.lab.text_corpus import LONGEST, Corpus, corpus
from luce.report.plots import INK, RUN_COLORS, library_style

LIKES = ("short", "long")
Arm = tuple[str, str, str]
"""Annotator, rule of the labels, score of the model."""
LOW: dict[Arm, float] = {
    ("short", EQ_9, EQ_9): 15.0,
    ("short", EQ_26, EQ_26): 15.0,
    ("short", EQ_9, EQ_26): 9.0,
    ("long", EQ_9, EQ_26): 9.0,
}
"""Mean length has to be below."""
HIGH: dict[Arm, float] = {
    ("long", EQ_9, EQ_9): 24.0,
    ("long", EQ_26, EQ_26): 24.0,
    ("short", EQ_26, EQ_9): 27.0,
    ("long", EQ_26, EQ_9): 27.0,
}
"""Likewise above."""
SLACK = 2.0
"""By which a quick run may stay below those."""
Means = dict[Arm, Float[Tensor, " seeds"]]


def run(seeds: int, quick: bool) -> Result:
    """Eight adaptations of each of `seeds` models on the built-in grammar; a `quick` run has fewer
    steps, texts and units."""
    return on(built_in(), seeds, quick, strict=False)


def run_on_text(seeds: int, quick: bool, sentences: Sequence[str]) -> Result:
    """The same on sentences of the user's."""
    return on(corpus(sentences, "the sentences given"), seeds, quick, strict=not quick)


def on(of: Corpus, seeds: int, quick: bool, strict: bool) -> Result:
    """The experiment on a corpus, held to all bounds where that is `strict`."""
    with one_thread():
        starts = (prepare(seed, QUICK if quick else Plan(), of) for seed in range(seeds))
        found = [(start, mean_lengths(start)) for start in starts]
    whole = over(start.drawn.lengths.double().mean().item() for start, _ in found)
    means = {arm: over(lengths[arm] for _, lengths in found) for arm in (*LOW, *HIGH)}
    with library_style():
        figures = {"lengths": _figure(means, whole)}
    checks = _checks(means, whole, quick, strict)
    passed = all(check.passed for check in checks)
    verdict = _verdict(means, whole, strict, passed)
    return Result(checks, figures, {"mean_length": _table(means)}, verdict)


def over(values: Any) -> Float[Tensor, " seeds"]:
    """One number of each seed."""
    return torch.tensor(list(values), dtype=torch.float64)


def mean_lengths(start: Start) -> dict[Arm, float]:
    """Mean length after adaptation, tokens, of every arm."""
    found = {}
    for annotator in LIKES:
        for labels in LUCE:
            preference = preferred(LUCE[labels], start.responses[annotator])
            for score in LUCE:
                adapted = adapt(start, preference, LUCE[score])
                found[annotator, labels, score] = adapted.lengths.double().mean().item()
    return found


def _checks(
    means: Means, whole: Float[Tensor, " seeds"], quick: bool, strict: bool
) -> tuple[Check, ...]:
    checks = []
    for arm, values in means.items():
        annotator, labels, score = arm
        what = f"{annotator}: labels by {labels}, score {score}"
        if not strict and labels == score == EQ_9:
            # where the shorter text nearly always wins, few judgements tell of the annotator
            further, side = over_seeds(values - whole), below if arm in LOW else above
            checks.append(side(f"{what}, less `whole`", further, 0.0))
        elif arm in LOW:
            checks.append(below(what, over_seeds(values), LOW[arm]))
        else:
            checks.append(above(what, over_seeds(values), HIGH[arm] - (SLACK if quick else 0.0)))
    return tuple(checks)


def _verdict(means: Means, whole: Float[Tensor, " seeds"], strict: bool, passed: bool) -> str:
    told = {arm: f"{values.mean():.1f}" for arm, values in means.items()}
    return (
        (
            ""
            if strict
            else "By eq. 9 the shorter of two texts nearly always wins, so that few "
            "judgements tell of the annotator: there the direction is checked. "
        )
        + ("Holds" if passed else "Does not hold throughout")
        + f": a model that had {whole.mean():.1f} tokens follows the annotator where its "
        f"score is the rule of the labels, to {told['short', EQ_9, EQ_9]} and "
        f"{told['short', EQ_26, EQ_26]} for short, {told['long', EQ_9, EQ_9]} and "
        f"{told['long', EQ_26, EQ_26]} for long; also under eq. 9, where the annotator of long "
        "texts nearly always picks the shorter one. Where they differ, the model goes to the end "
        "that the two rules prescribe, whatever the annotator likes: judged by log p and scored "
        f"per token to {told['short', EQ_9, EQ_26]} and {told['long', EQ_9, EQ_26]}, judged per "
        f"token and scored by log p to {told['short', EQ_26, EQ_9]} and "
        f"{told['long', EQ_26, EQ_9]}. So normalizing by length is right for labels that are given "
        f"so, and wrong for others. Per token means times {LONGEST}."
    )


def _table(means: Means) -> list[dict[str, Any]]:
    return [
        {
            "annotator": annotator,
            "labels": labels,
            "score": score,
            "matched": labels == score,
            **over_seeds(values).flat("mean_length"),
        }
        for (annotator, labels, score), values in means.items()
    ]


def _figure(means: Means, whole: Float[Tensor, " seeds"]) -> Figure:
    figure, all_axes = panels([f"annotator of {name} texts" for name in LIKES], 3.8)
    figure.set_size_inches(8.4, 3.8)
    for axes, annotator in zip(all_axes, LIKES, strict=True):
        for number, score in enumerate((EQ_9, EQ_26)):
            for at, labels in enumerate((EQ_9, EQ_26)):
                value = over_seeds(means[annotator, labels, score])
                label = f"score of the model: {score}" if at == 0 else None
                x = at + 0.36 * (number - 0.5)
                axes.bar(x, value.value, 0.32, color=RUN_COLORS[number], alpha=0.8, label=label)
                axes.plot([x, x], [value.low, value.high], color=INK, linewidth=1.2)
                if labels == score:
                    axes.annotate("matched", (x, 0.8), ha="center", fontsize=8, color="white")
        axes.axhline(whole.mean().item(), color=INK, linewidth=1, linestyle=(0, (4, 2)),
                     label="before")  # fmt: skip
        axes.set_xticks([0, 1], [f"labels by {rule}" for rule in (EQ_9, EQ_26)])
        axes.set_ylim(0, LONGEST + 1)
    all_axes[0].set_ylabel("mean length, tokens")
    legend_below(figure, all_axes[0])
    return figure


EXPERIMENT = Experiment(
    name="pbde-matched-scores",
    claim="Who judges and learns by one rule recovers the annotator (theorem 2); with two rules, "
    "what is learnt is another.",
    source=f"{SOURCE}, theorem 2, eq. 9 and 26; the test is not in the paper",
    run=run,
    seeds=3,
    quick_seeds=3,
    verdict="holds",
    stops="By log p long texts lose nearly always: it takes many judgements until an annotator who "
    "likes them is heard.",
    cpu_s=(254, 58),
    on_text=run_on_text,
)
