"""Responses that never end: survival curves, the mass at infinity, and what a cap can see of it."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from luce.lab.experiment import Experiment, Result, exactly, near, over_seeds
from luce.lab.figures import legend_below, panels
from luce.models.tabular import EndingChain, never_ending_mass, survival
from luce.report.plots import INK, RUN_COLORS, RUN_MARKS, library_style

CAP = 100
LONG = 100_000
SEEN = (1, 3, 10, 30, 100)
"""Tokens at which sampled responses are looked at; the last is the cap."""
ENDS: dict[str, tuple[Callable[[Tensor], Tensor], float, float]] = {
    "e = 0.1": (lambda t: torch.full_like(t, 0.1), 0.0, 1e-12),
    "e = 1/(t + 1)": (lambda t: 1 / (t + 1), 0.0, 2e-5),
    "e = 1/(t + 1)²": (lambda t: 1 / (t + 1) ** 2, 0.5, 2e-5),
    "e = σ(−t)": (lambda t: torch.sigmoid(-t), 0.595973, 1e-6),
    "e = σ(−t/10)": (lambda t: torch.sigmoid(-0.1 * t), 3.774e-4, 1e-7),
}
"""Chance that token t is the end → the mass that never ends, and to how much it is known."""
LEAK = 0.2 / 101 / (1 - 1 / 101)
"""Chance per token of falling where there is no end, such that 1/101 of the mass does."""


def run(seeds: int, quick: bool) -> Result:
    """`seeds` times a sample of responses, 4096 or 1024 of them."""
    count = 1024 if quick else 4096
    curves = {name: survival(hazards(name)) for name in ENDS}
    sampled = {
        name: torch.stack([_alive(curve, count, seed) for seed in range(seeds)])
        for name, curve in curves.items()
    }
    return result(curves, sampled, count)


def hazards(name: str) -> Float[Tensor, " tokens"]:
    """The chance of the end at token 1, 2, … `LONG`."""
    return ENDS[name][0](torch.arange(1, LONG + 1, dtype=torch.float64))


def trap(end: float, fall: float) -> EndingChain:
    """Tokens that end, fall into a state without an end, or go on."""
    step = torch.tensor([[1 - end - fall, fall], [0.0, 1.0]], dtype=torch.float64)
    start = torch.tensor([1.0, 0.0], dtype=torch.float64)
    return EndingChain(start, step, torch.tensor([end, 0.0], dtype=torch.float64))


def _alive(curve: Tensor, count: int, seed: int) -> Float[Tensor, " seen"]:
    """Share of sampled responses that have not ended at each of `SEEN`."""
    draw = torch.Generator().manual_seed(seed)
    u = torch.rand(count, generator=draw, dtype=torch.float64)
    return torch.stack([(u < curve[t - 1]).double().mean() for t in SEEN])


def result(curves: dict[str, Tensor], sampled: dict[str, Tensor], count: int) -> Result:
    """Checks, figure and verdict."""
    checks = []
    for name, (_, infinite, tolerance) in ENDS.items():
        checks.append(
            near(f"{name}: mass that never ends", exactly(_infinite(name)), infinite, tolerance)
        )
        checks.append(
            near(
                f"{name}: share alive at {CAP} tokens, sampled",
                over_seeds(sampled[name][:, -1]),
                curves[name][CAP - 1].item(),
                _noise(curves[name][CAP - 1].item(), count * len(sampled[name])),
            )
        )
    harmonic, leak = curves["e = 1/(t + 1)"], trap(0.2, LEAK)
    checks += [
        near("e = 1/(t + 1): S(1000)", exactly(harmonic[999].item()), 0.000999, 1e-6),
        near(
            "e = 1/(t + 1)²: S(100)", exactly(curves["e = 1/(t + 1)²"][99].item()), 0.504950, 1e-6
        ),
        near(
            "a trap that catches 0.1 where 0.2 end: mass that never ends",
            exactly(trap(0.2, 0.1).infinite_mass()),
            1 / 3,
            1e-12,
        ),
        near(
            "a leak of 1/101: S(100), less that of e = 1/(t + 1)",
            exactly(leak.survival(CAP) - harmonic[CAP - 1].item()),
            0.0,
            1e-9,
        ),
        near("the leak: mass that never ends", exactly(leak.infinite_mass()), 1 / 101, 1e-12),
    ]
    table = [
        {
            "end": name,
            "infinite_mass": _infinite(name),
            "sum_of_hazards_at_cap": hazards(name)[:CAP].sum().item(),
            "sum_of_hazards_at_100000": hazards(name).sum().item(),
            "survival_at_cap": curves[name][CAP - 1].item(),
            **over_seeds(sampled[name][:, -1]).flat("sampled_at_cap"),
        }
        for name in ENDS
    ]
    with library_style():
        figures = {"survival": _figure(curves, sampled, leak)}
    verdict = (
        "Holds. A model whose every token may be the last can still keep half of its mass for "
        "strings that never end (e = 1/(t + 1)²): mass is lost if and only if the chances of "
        "ending have a finite sum. A cap cannot see it: at 100 tokens e = 1/(t + 1), which always "
        "ends, and a leak of 1/101 leave the same share alive. Report S(T) with the sum of the "
        "chances of ending, not the share at the cap alone."
    )
    return Result(tuple(checks), figures, {"survival": table}, verdict)


def _noise(share: float, count: int) -> float:
    """Four standard errors of a share, and a little for what is rarely seen."""
    return 4 * (share * (1 - share) / count) ** 0.5 + 1e-3


def _infinite(name: str) -> float:
    """S(∞): S at 100 000 tokens, and the sum of the hazards after it where that is finite."""
    tails = {"e = 0.1": float("inf"), "e = 1/(t + 1)": float("inf"), "e = 1/(t + 1)²": 1 / LONG}
    low, high = never_ending_mass(hazards(name), tails.get(name, 0.0))
    return (low + high) / 2


def _figure(curves: dict[str, Tensor], sampled: dict[str, Tensor], leak: EndingChain) -> Figure:
    figure, (left, right) = panels(["alive after T tokens", "what a cap of 100 cannot tell"], 3.8)
    t = [round(10 ** (i / 12)) for i in range(49)]
    for number, (name, curve) in enumerate(curves.items()):
        color = RUN_COLORS[number]
        left.plot(t, [curve[i - 1].item() for i in t], color=color, linewidth=1.3, label=name)
        mean = sampled[name].mean(0)
        left.plot(SEEN, mean.tolist(), RUN_MARKS[number], color=color, markersize=5)
    left.plot([], [], "o", color=INK, label="sampled, to the cap of 100")
    harmonic = curves["e = 1/(t + 1)"]
    right.plot(t, [harmonic[i - 1].item() for i in t], color=RUN_COLORS[1], linewidth=1.3)
    right.plot(t, [leak.survival(i) for i in t], "--", color=RUN_COLORS[5], linewidth=1.3)
    right.annotate("e = 1/(t + 1): all ends", (60, 3e-4), color=RUN_COLORS[1], fontsize=8.5,
                   ha="right")  # fmt: skip
    right.annotate("a leak of 1/101", (300, 1.5e-2), color=RUN_COLORS[5], fontsize=8.5)
    right.axvline(CAP, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(1e-4, 1.5)
        axes.set_xlabel("T, tokens")
    left.set_ylabel("S(T)")
    legend_below(figure, left, columns=3)
    return figure


EXPERIMENT = Experiment(
    name="length-survival",
    claim="Language models can lose mass to strings that never end, unseen by any sample.",
    source="Malladi, The Hidden Infinity in Preference Learning; Welleck et al. (2020); Du et al. "
    "(2023)",
    run=run,
    seeds=20,
    quick_seeds=5,
    verdict="holds",
    stops="Mass is lost if and only if the chances of ending have a finite sum: ending with 1/(t + "
    "1) loses none, and a cap of 100 tokens cannot tell.",
    cpu_s=(1, 1),
)
