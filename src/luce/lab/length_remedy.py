"""How to get r* back: what normalizing by length recovers, and from whose labels."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from luce.intervals import Estimate
from luce.lab.experiment import Experiment, Result, above, at_most, near, over_seeds
from luce.lab.figures import legend_below, panels
from luce.lab.length_bias import Ended, ended_at, made, over
from luce.lab.length_world import Strings, draw, fit_rewards, spearman
from luce.objectives import OBJECTIVES
from luce.report.plots import INK, RUN_COLORS, library_style

SHARP = 8.0
"""Labels of r* are those of 8 r*: its differences are small."""
BETA = 2.0
CLOSED = {
    "SimPO": (0.7478, 0.1510, 0.1012),
    "LN-DPO": (0.8117, 0.1639, 0.0244),
}
"""p of a, b and the end, ∝ e^(8w/β) and ∝ π_ref e^(8w/β), worked out by hand."""
LABELS = ("r*", "r_LM = |y| r*")


def run(seeds: int, quick: bool) -> Result:
    """`seeds` sets of pairs."""
    pairs = 8192 if quick else 65536
    strings = [draw(pairs, 50 + seed) for seed in range(seeds)]
    arms = {
        "SimPO": made("simpo", beta=BETA, gamma=0.0),
        "LN-DPO": made("ln_dpo", beta=BETA),
        "DPO": made("dpo", beta=5.0),
    }
    ended: dict[tuple[str, str], list[Ended]] = {}
    for of, whose in zip((lambda s: SHARP * s.mean, lambda s: s.total), LABELS, strict=True):
        for name, objective in arms.items():
            ended[name, whose] = [
                ended_at(objective, one, one.labels(of(one), seed))
                for seed, one in enumerate(strings)
            ]
    return result(ended, [rewards(one, seed) for seed, one in enumerate(strings)], strings, quick)


def rewards(strings: Strings, seed: int) -> tuple[Tensor, Tensor]:
    """From labels of r_LM: rewards of a and b by a model of the total, and by one of the mean."""
    label = strings.labels(strings.total, seed)
    judge = OBJECTIVES["bradley_terry"]()
    total = fit_rewards(strings, label, judge, lambda r: r)
    return total, fit_rewards(strings, label, judge, lambda r: r / strings.lengths)


def result(
    ended: dict[tuple[str, str], list[Ended]],
    fitted: Sequence[tuple[Tensor, Tensor]],
    strings: Sequence[Strings],
    quick: bool,
) -> Result:
    """Checks, figure and verdict."""
    wide = 2.0 if quick else 1.0
    right, biased = LABELS
    checks = []
    for name, closed in CLOSED.items():
        found = torch.stack([one.log_p.exp() for one in ended[name, right]])
        for i, what in enumerate(("a", "b", "the end")):
            checks.append(
                near(f"{name}, labels of r*: p of {what}", over_seeds(found[:, i]), closed[i],
                     wide * 0.008)
            )  # fmt: skip
        checks.append(
            above(f"{name}, labels of r*: rank correlation with r*",
                  over(ended[name, right], lambda one: one.with_mean), 0.995)
        )  # fmt: skip
        checks.append(
            near(f"{name}, labels of r_LM: likewise, not recovered",
                 over(ended[name, biased], lambda one: one.with_mean), 0.839, 0.03)
        )  # fmt: skip
    checks.append(
        near("DPO, labels of r*: likewise", over(ended["DPO", right], lambda one: one.with_mean),
             0.8975, 0.04)
    )  # fmt: skip
    total = torch.stack([w for w, _ in fitted])
    errors = [torch.tensor([_error(of, w[k]) for of, w in zip(strings, fitted, strict=True)])
              for k in (0, 1)]  # fmt: skip
    ranks = torch.tensor([_rank(of, w[0]) for of, w in zip(strings, fitted, strict=True)])
    checks += [
        near("total fitted to r_LM: reward of a", over_seeds(total[:, 0]), 0.5, wide * 0.015),
        near("total fitted to r_LM: reward of b", over_seeds(total[:, 1]), 0.1, wide * 0.015),
        at_most("the same over |y|: error of r*, root mean square", over_seeds(errors[0]),
                wide * 0.01),
        above("the same over |y|: rank correlation with r*", over_seeds(ranks), 0.995),
        above("mean fitted to r_LM: error of r*", over_seeds(errors[1]), 1.0),
        near("π_ref e^(r*/β), β = 1: mean tokens", tilted_length(strings, mean=True), 10.0, 0.6),
    ]  # fmt: skip
    rows = [
        {"objective": name, "labels": whose,
         **over(all_, lambda one: one.with_mean).flat("rank_with_r"),
         **over(all_, lambda one: one.with_length).flat("rank_with_length"),
         **over(all_, lambda one: one.length).flat("tokens"),
         **over(all_, lambda one: one.chosen).flat("change_of_chosen")}
        for (name, whose), all_ in ended.items()
    ]  # fmt: skip
    with library_style():
        figures = {"recovery": _figure(ended, strings[0], fitted[0])}
    lost = over(ended["SimPO", biased], lambda one: one.with_mean).value
    fall = over(ended["SimPO", right], lambda one: one.chosen).value
    verdict = (
        "Holds in part. A length-normalized objective recovers r* exactly where the labels follow "
        f"r*. Where they follow |y| r*, which is what the text sets out to mend, it does not (rank "
        f"correlation {lost:.2f}): it must fit the total, and does so with a mean. What does "
        "recover r* from such labels is to fit the total and then divide by |y|; a policy tilted "
        "by the result keeps its length. Nor does normalizing force log π of the preferred string "
        f"up: under SimPO it changes by {fall:.1f} nats on average, with labels of r*."
    )
    return Result(tuple(checks), figures, {"objectives": rows}, verdict)


def per_token(strings: Strings, w: Float[Tensor, " 2"]) -> Float[Tensor, " strings"]:
    """r̂, the mean reward per token, of every string."""
    return strings.counts[:, :2] @ w / strings.lengths


def _error(strings: Strings, w: Tensor) -> float:
    return (per_token(strings, w) - strings.mean).pow(2).mean().sqrt().item()


def _rank(strings: Strings, w: Tensor) -> float:
    return spearman(per_token(strings, w), strings.mean)


def tilted_length(strings: Sequence[Strings], mean: bool) -> Estimate:
    """Mean length under π_ref e^r, r the mean per token or the total, by weighing π_ref's draws."""
    found = []
    for of in strings:
        weight = (of.mean if mean else of.total).exp()
        found.append(((weight * of.lengths).sum() / weight.sum()).item())
    return over_seeds(torch.tensor(found, dtype=torch.float64))


def _figure(
    ended: dict[tuple[str, str], list[Ended]], strings: Strings, fitted: tuple[Tensor, Tensor]
) -> Figure:
    titles = ["SimPO, labels of r*", "SimPO, labels of |y| r*", "total of |y| r*, over |y|"]
    figure, all_axes = panels(titles, 3.8)
    some = slice(0, 1500)
    x = strings.mean[some]
    means = [
        (strings.counts @ ended["SimPO", whose][0].log_p / strings.lengths)[some]
        for whose in LABELS
    ]
    # Ω = β log π/|y| equals 8 r* plus a constant where r* is recovered
    shown = [BETA * means[0] / SHARP, BETA * means[1], per_token(strings, fitted[0])[some]]
    short = strings.lengths[some] <= 10
    for axes, y in zip(all_axes, shown, strict=True):
        level = y.mean() - x.mean() if axes is not all_axes[2] else torch.zeros(())
        for which, color, label in ((short, RUN_COLORS[1], "strings of 10 tokens or fewer"),
                                    (~short, RUN_COLORS[0], "longer")):  # fmt: skip
            axes.plot(x[which], (y - level)[which], ".", color=color, markersize=3, alpha=0.5,
                      label=label)  # fmt: skip
        axes.plot([0, 0.5], [0, 0.5], "-.", color=INK, linewidth=1.2, label="theory: r* itself")
        axes.set_xlabel("r*")
    all_axes[0].set_ylabel("what was learnt, shifted")
    all_axes[2].set_ylabel("what was learnt")
    legend_below(figure, all_axes[0])
    return figure


EXPERIMENT = Experiment(
    name="length-remedy",
    claim="A length-normalized objective learns the length-free reward r* from labels of "
    "r_LM = |y| r*.",
    source="Malladi, The Hidden Infinity in Preference Learning",
    run=run,
    seeds=3,
    quick_seeds=3,
    verdict="holds in part",
    stops="Only where the labels follow r*. From labels of |y| r* it takes a fit of the total, "
    "divided by |y| after.",
    cpu_s=(7, 2),
)
