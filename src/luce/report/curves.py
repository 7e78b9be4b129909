"""Which curves a report shows: a table, one entry each; and the points they are drawn through."""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from luce.report.numbers import counted, number
from luce.report.run import Run, Series, Split

POINTS = 1000
"""Most points drawn of one line."""

Role: TypeAlias = Literal["single", "chosen", "rejected"]


@dataclass(frozen=True)
class Line:
    """A metric on a curve, by its bare name; `role` gives its color, `label` its word."""

    metric: str
    role: Role = "single"
    label: str = ""


@dataclass(frozen=True)
class Curve:
    """One figure of the report.

    Attributes:
        name: of the figure, a word.
        title: what is drawn.
        unit: of the y axis.
        lines: the metrics on it; those a run lacks are left out.
        note: how to read it, a sentence.
        noisy: True for what varies from batch to batch: drawn with its running mean.
        level: a y value worth a rule of its own (½ for accuracies, 0 for margins).
        sampled: True for what is measured on the policy's own samples in training.
    """

    name: str
    title: str
    unit: str
    lines: tuple[Line, ...]
    note: str
    noisy: bool = True
    level: float | None = None
    sampled: bool = False


_PLACES: tuple[tuple[Split, str], ...] = (("train", "training"), ("eval", "held out"))
_SAMPLED: tuple[tuple[Split, str], ...] = (("samples", "samples"),)

CURVES = (
    Curve("loss", "Loss", "loss", (Line("loss"),), "What training minimizes."),
    Curve(
        "accuracy",
        "Accuracy",
        "share of pairs",
        (Line("rewards/accuracies"),),
        "Pairs whose chosen response scores higher; ties count half. Band: 95 % interval.",
        level=0.5,
    ),
    Curve(
        "win_rate",
        "Win rate over the initial policy",
        "share of prompts",
        (Line("win_rate"),),
        "Of the policy's own samples, by the recipe's annotator. Band: 95 % interval.",
        level=0.5,
        sampled=True,
    ),
    Curve(
        "reward",
        "Reward of samples",
        "reward",
        (Line("reward"),),
        "Mean reward of the policy's own samples, by the recipe's annotator.",
        sampled=True,
    ),
    Curve(
        "sampled_kl",
        "KL from the initial policy",
        "nats per response",
        (Line("kl"),),
        "Estimated on the policy's own samples. Band: 95 % interval.",
        level=0.0,
        sampled=True,
    ),
    Curve(
        "sampled_length",
        "Length of samples",
        "tokens",
        (Line("length"),),
        "Of the policy's own samples, end-of-turn token included.",
        sampled=True,
    ),
    Curve(
        "ended",
        "Samples that end by themselves",
        "share of samples",
        (Line("ended"),),
        "The others are cut at the most new tokens that the recipe allows.",
        sampled=True,
    ),
    Curve(
        "nll",
        "Negative log-likelihood",
        "nats per token",
        (Line("nll"),),
        "Of the responses to imitate; lower is likelier.",
    ),
    Curve(
        "margins",
        "Margin",
        "score, chosen − rejected",
        (Line("rewards/margins"),),
        "How far apart the score puts chosen and rejected.",
        level=0.0,
    ),
    Curve(
        "logps",
        "Log-probability per token",
        "nats per token",
        (
            Line("logps_per_token/chosen", "chosen", "chosen"),
            Line("logps_per_token/rejected", "rejected", "rejected"),
        ),
        "Where both fall, the policy moves its mass to answers that are in neither column.",
    ),
    Curve(
        "scores",
        "Score of each side",
        "score",
        (
            Line("rewards/chosen", "chosen", "chosen"),
            Line("rewards/rejected", "rejected", "rejected"),
        ),
        "The two parts of the margin.",
        level=0.0,
    ),
    Curve(
        "length",
        "Length of the data",
        "tokens",
        (
            Line("length/chosen", "chosen", "chosen"),
            Line("length/rejected", "rejected", "rejected"),
            Line("length"),
        ),
        "Scored tokens of the responses trained on. A gap is a cue that training can pick up.",
    ),
    Curve(
        "kl",
        "KL",
        "nats",
        (Line("kl"),),
        "From the reference: of rounds of samples by reinforcement learning on these; of KTO its "
        "baseline, on mismatched responses.",
    ),
    Curve(
        "trained_reward",
        "Reward",
        "reward",
        (Line("reward", label="graded"), Line("reward/total", "chosen", "less KL and penalties")),
        "Of the samples of each round.",
    ),
    Curve(
        "entropy",
        "Entropy",
        "nats per token",
        (Line("entropy"),),
        "Of the next token's distribution. Where it is gone, nothing new is sampled.",
    ),
    Curve(
        "clipfrac",
        "Clipped ratios",
        "share of tokens",
        (Line("clipfrac"),),
        "Tokens whose ratio to the sampler had left the interval in which it may move.",
    ),
    Curve(
        "trained_ended",
        "Samples that end by themselves",
        "share of samples",
        (Line("ended"),),
        "Of each round; the others are cut at the most new tokens that the recipe allows.",
    ),
    Curve(
        "value_loss",
        "Loss of the critic",
        "squared reward",
        (Line("value_loss"),),
        "How far the values are from the returns.",
    ),
    Curve(
        "explained_variance",
        "Explained variance",
        "share",
        (Line("explained_variance"),),
        "What the critic explains of the returns; below 0 it is worse than their mean.",
        level=0.0,
    ),
    Curve(
        "grad_norm",
        "Gradient norm",
        "norm",
        (Line("grad_norm"),),
        "Before clipping.",
    ),
    Curve(
        "learning_rate",
        "Learning rate",
        "learning rate",
        (Line("learning_rate"),),
        "As scheduled.",
        noisy=False,
    ),
)


def smooth(series: Series, window: int, points: int = POINTS // 4) -> Series:
    """The mean of the last `window` finite values, at no more than `points` evenly spaced steps,
    first and last among them; nan where a window has no finite value.

    >>> smooth(Series((1, 2, 3), (1.0, 3.0, 5.0)), 2).values
    (1.0, 2.0, 4.0)
    """
    last = len(series) - 1
    count = min(points, len(series))
    chosen = sorted({round(i * last / max(1, count - 1)) for i in range(count)})
    means = []
    for end in chosen:
        recent = series.values[max(0, end + 1 - window) : end + 1]
        finite = [v for v in recent if math.isfinite(v)]
        means.append(math.fsum(finite) / len(finite) if finite else math.nan)
    return Series(tuple(series.steps[i] for i in chosen), tuple(means))


def downsample(series: Series, limit: int = POINTS) -> Series:
    """At most `limit` points that keep every spike: lowest and highest of each stretch of steps.

    A stretch without a finite value keeps one nan, so that the gap stays visible.
    """
    if len(series) <= limit:
        return series
    stretches = limit // 2
    kept: list[int] = []
    for i in range(stretches):
        indices = range(i * len(series) // stretches, (i + 1) * len(series) // stretches)
        finite = [j for j in indices if math.isfinite(series.values[j])]
        if finite:
            ends = {
                min(finite, key=series.values.__getitem__),
                max(finite, key=series.values.__getitem__),
            }
            kept += sorted(ends)
        else:
            kept.append(indices[0])
    return Series(tuple(series.steps[j] for j in kept), tuple(series.values[j] for j in kept))


@dataclass(frozen=True)
class Stroke:
    """A line as it is drawn.

    Attributes:
        kind: `batches`, faint, for single batches under their running mean; `line` for training;
            `points` for what was measured now and then.
        role: gives the color.
        label: for the legend, "" for none.
        series: at most `POINTS` points.
        low, high: ends of the intervals, at the same steps as each other; None where not recorded.
    """

    kind: Literal["batches", "line", "points"]
    role: Role
    label: str
    series: Series
    low: Series | None = None
    high: Series | None = None


def strokes(run: Run, curve: Curve) -> list[Stroke]:
    """What is drawn of a curve: training as a line (its running mean over the fainter single
    batches), held-out or sampled values as points; [] where the run has no number for it."""
    found: list[Stroke] = []
    if not curve.sampled:
        for line in curve.lines:
            found += _trained(run, curve, line)
    for line in curve.lines:
        found += _measured(run, line, "samples" if curve.sampled else "eval")
    return found


def _trained(run: Run, curve: Curve, line: Line) -> list[Stroke]:
    series = run.series(line.metric)
    if not len(series.finite):
        return []
    label, thin = _label(line, "training"), downsample(series)
    window = len(series) // 25 if curve.noisy else 1
    if window < 2:
        return [Stroke("line", line.role, label, thin)]
    mean = smooth(series, window)
    return [Stroke("batches", line.role, "", thin), Stroke("line", line.role, label, mean)]


def _measured(run: Run, line: Line, split: Split) -> list[Stroke]:
    series = run.series(line.metric, split).finite
    if not len(series):
        return []
    low, high = (run.series(f"{line.metric}_{end}", split).finite for end in ("low", "high"))
    known = len(low) > 0 and low.steps == high.steps
    ends = (low, high) if known else (None, None)
    return [Stroke("points", line.role, _label(line, "held out"), downsample(series), *ends)]


def _label(line: Line, split: str) -> str:
    return f"{line.label}, {split}" if line.label else split


def describe(curve: Curve, run: Run) -> str:
    """The curve in words, for those who do not see it: first, last, lowest and highest value."""
    said = []
    for line in curve.lines:
        for split, where in _SAMPLED if curve.sampled else _PLACES:
            series = run.series(line.metric, split)
            finite = series.finite
            if not len(finite):
                continue
            gaps = len(series) - len(finite)
            name = f"{line.label}, {where}" if line.label else where
            said.append(
                f"{name}: {number(finite.values[0])} at step {finite.steps[0]}, "
                f"{number(finite.values[-1])} at step {finite.steps[-1]}, lowest "
                f"{number(min(finite.values))}, highest {number(max(finite.values))}"
                + (f", not a number at {counted(gaps, 'step')}" if gaps else "")
            )
    return f"{curve.title} ({curve.unit}). {'; '.join(said)}."
