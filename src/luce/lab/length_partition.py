"""DPO's partition function under a reward per token: where it is infinite, no policy is optimal."""

import math

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from luce.lab.experiment import Experiment, Result, at_most, exactly, near, over_seeds
from luce.lab.figures import panels
from luce.models.tabular import EndingChain, TabularPolicy, actions, policy_with_scores
from luce.objectives.score import Score
from luce.objectives.scores import length_regularized, log_ratio
from luce.report.plots import INK, RUN_COLORS, RUN_MARKS, library_style

END, REWARD = 0.1, 0.1
"""Chance of the end at every token of π_ref (10 tokens on average); reward per token."""
CRITICAL = REWARD / -math.log(1 - END)
"""β under which Z is infinite: 0.949122."""
MEANS = {10.0: 10.99, 2.0: 18.57, 1.0: 187.05, 0.95: 10272.0}
"""β → mean length of the optimum, as an independent program found it."""
BETAS = (0.5, 1.0, 2.0)
CAPS = (50, 100, 200, 400, 800)


def run(seeds: int, quick: bool) -> Result:
    """`seeds` estimates of Z from samples of π_ref."""
    counts = [10**k for k in range(2, 5 if quick else 7)]
    estimates = {
        beta: torch.stack([_sampled(beta, counts, seed) for seed in range(seeds)], 1)
        for beta in BETAS
    }
    return result(counts, estimates)


def chain() -> EndingChain:
    """π_ref: every token is the end with the same chance."""
    one = torch.ones(1, dtype=torch.float64)
    return EndingChain(one, (1 - END) * one.unsqueeze(0), END * one)


def mean_length(beta: float) -> float:
    """Mean length of π_ref e^(c|y|/β)/Z, by the derivative of log Z in c/β; infinite with Z."""
    if math.isinf(chain().partition(REWARD, beta)):
        return math.inf
    h = 1e-6 * min(1.0, 1 - CRITICAL / beta)
    up, down = (math.log(chain().partition(REWARD + d * beta, beta)) for d in (h, -h))
    return (up - down) / (2 * h)


def reference(cap: int) -> TabularPolicy:
    """π_ref by length, cut at a cap: what has not ended there is ended."""
    n = torch.arange(1, cap + 1, dtype=torch.float64)
    log_prob = math.log(END) + (n - 1) * math.log(1 - END)
    log_prob[-1] -= math.log(END)
    return actions(cap, list(range(1, cap + 1))).normalize(log_prob)


def optimum(score: Score, cap: int) -> TabularPolicy:
    """What the objective with this score ends at, when the annotator rewards every token."""
    ref = reference(cap)
    length = ref.outcomes.lengths.double()
    return policy_with_scores(REWARD * length, score, ref.outcomes, ref)


def tokens(policy: TabularPolicy) -> float:
    """Mean length."""
    return policy.expectation(policy.outcomes.lengths.double()).item()


def _sampled(beta: float, counts: list[int], seed: int) -> Float[Tensor, " counts"]:
    """Mean of e^(c|y|/β) over the first so many responses of π_ref."""
    draw = torch.Generator().manual_seed(seed)
    u = torch.rand(counts[-1], generator=draw, dtype=torch.float64)
    lengths = (u.log() / math.log(1 - END)).floor() + 1
    sums = (REWARD * lengths / beta).exp().cumsum(0)
    return torch.stack([sums[n - 1] / n for n in counts])


def result(counts: list[int], estimates: dict[float, Tensor]) -> Result:
    """Checks, figure and verdict."""
    q = math.exp(REWARD / 2)
    checks = [
        near(
            "β under which Z is infinite",
            exactly(REWARD / chain().critical_reward(1.0)),
            0.949122,
            1e-6,
        ),
        near(
            "Z at β = 2, less its closed form",
            exactly(chain().partition(REWARD, 2.0) - END * q / (1 - (1 - END) * q)),
            0.0,
            1e-12,
        ),
        *(
            near(f"β = {beta:g}: mean length of the optimum", exactly(mean_length(beta)), mean,
                 2e-3 * mean)
            for beta, mean in MEANS.items()
        ),
        near(
            "DPO's score at β = 2, 2000 lengths: mean length",
            exactly(tokens(optimum(log_ratio(2.0), 2000))),
            18.57,
            0.01,
        ),
        near(
            "β = 0.5, cut at 200 tokens: share at the cap",
            exactly(optimum(log_ratio(0.5), 200).probability[-1].item()),
            0.498,
            1e-3,
        ),
        *(
            near(
                f"R-DPO with α = c, β = {beta:g}: mean length",
                exactly(tokens(optimum(length_regularized(beta, REWARD), 2000))),
                10.0,
                1e-6,
            )
            for beta in (0.5, 2.0)
        ),
        near(
            f"β = 2: Z from {counts[-1]} samples, over Z",
            over_seeds(estimates[2.0][-1] / chain().partition(REWARD, 2.0)),
            1.0,
            0.05,
        ),
        at_most(
            "β = 1: Z from 10000 samples, over Z",
            over_seeds(estimates[1.0][counts.index(10**4)] / chain().partition(REWARD, 1.0)),
            0.9,
        ),
    ]  # fmt: skip
    grid = [0.96 * 1.1**k for k in range(30)]
    table = [
        {"beta": beta, "Z": _finite(chain().partition(REWARD, beta)),
         "mean_length": _finite(mean_length(beta)),
         **{f"cut_at_{cap}": tokens(optimum(log_ratio(beta), cap)) for cap in CAPS}}
        for beta in (0.25, 0.5, 0.9, 0.95, 1.0, 2.0, 10.0)
    ]  # fmt: skip
    low = over_seeds(estimates[1.0][-1]).value / chain().partition(REWARD, 1.0)
    with library_style():
        figures = {"partition": _figure(grid, counts, estimates)}
    verdict = (
        "Holds. With a reward per token DPO's Z is finite only above β = 0.949; the mean length of "
        "the optimum grows without bound on the way there, and below there is no optimum: what a "
        "run ends at is whatever length it was cut at. Samples do not show it: they give a finite "
        f"Z everywhere, and at β = 1, where Z is finite, {low:.0%} of it from {counts[-1]} "
        "samples. R-DPO with α equal to the reward per token restores 10 tokens at any β."
    )
    return Result(tuple(checks), figures, {"partition": table}, verdict)


def _finite(x: float) -> float | None:
    return x if math.isfinite(x) else None


def _figure(grid: list[float], counts: list[int], estimates: dict[float, Tensor]) -> Figure:
    titles = ["length of the optimum", "the same, cut at a cap", "Z as samples of π_ref give it"]
    figure, (left, middle, right) = panels(titles, 3.8)
    left.plot(grid, [mean_length(b) for b in grid], "-.", color=INK, linewidth=1.3)
    some = (1.25, 2.0, 4.0, 8.0)
    found = [tokens(optimum(log_ratio(b), 2000)) for b in some]
    left.plot(some, found, "o", color=INK, markersize=5, label="optimum of DPO's score")
    left.axvline(CRITICAL, color=INK, linestyle=(0, (4, 2)), linewidth=1.0)
    left.annotate("no optimum", (CRITICAL * 0.93, 300), rotation=90, fontsize=8.5, ha="right")
    left.axhline(10, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
    left.annotate("π_ref; R-DPO, α = c", (2.2, 7.4), fontsize=8.5)
    left.set_xlim(0.6, 16)
    left.set_ylim(5, 5000)
    left.set_xticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
    left.set_xlabel("β")
    left.set_ylabel("mean tokens")
    for number, beta in enumerate(BETAS):
        color, mark = RUN_COLORS[number], RUN_MARKS[number]
        cut = [tokens(optimum(log_ratio(beta), cap)) for cap in CAPS]
        middle.plot(CAPS, cut, color=color, marker=mark, markersize=4, label=f"β = {beta:g}")
        values = estimates[beta]
        mean = values.mean(1).tolist()
        right.plot(counts, mean, color=color, marker=mark, markersize=4)
        right.fill_between(counts, values.amin(1), values.amax(1), color=color, alpha=0.2, lw=0)
        exact = chain().partition(REWARD, beta)
        if math.isfinite(exact):
            right.axhline(exact, color=color, linestyle="-.", linewidth=1.0)
    right.plot([], [], "-.", color=INK, label="theory (infinite at β = 0.5)")
    middle.plot(CAPS, CAPS, color=INK, linestyle=(0, (1, 2)), linewidth=0.9)
    middle.annotate("the cap", (52, 85), fontsize=8.5)
    middle.set_xlabel("cap, tokens")
    right.set_xlabel("samples")
    for axes in (left, middle, right):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.minorticks_off()
    left.set_xticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
    middle.set_xticks(list(CAPS), [str(c) for c in CAPS])
    middle.set_yticks([20, 50, 100, 200, 400, 800], ["20", "50", "100", "200", "400", "800"])
    told = [axes.get_legend_handles_labels() for axes in (left, middle, right)]
    handles, labels = (sum(parts, []) for parts in zip(*told, strict=True))
    figure.legend(handles, labels, loc="outside lower center", ncols=5)
    return figure


EXPERIMENT = Experiment(
    name="length-partition",
    claim="DPO's partition function may not exist if lengths are not bounded.",
    source="Malladi, The Hidden Infinity in Preference Learning; Rafailov et al., "
    "arXiv:2305.18290, appendix A.1",
    run=run,
    seeds=20,
    quick_seeds=5,
    verdict="holds",
    stops="Under a critical β only (here 0.949); samples of π_ref give a finite Z everywhere and "
    "do not show it.",
    cpu_s=(2, 1),
)
