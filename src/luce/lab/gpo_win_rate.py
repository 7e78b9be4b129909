"""Figures 8 and 9 of GPO: how often policies of each loss and β beat the policy that they started
from, and each other, by the gold reward of the built-in world."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from luce.evaluate.win_rate import win_rate
from luce.lab.experiment import Check, Experiment, Result, above, over_seeds
from luce.lab.figures import legend_below, line_with_band, panels
from luce.lab.gpo_family import DASHES, FAMILY, SOURCE, exact, told
from luce.lab.gpo_language import FEW, QUICK, Look, Plan, traces
from luce.report.plots import INK, library_style

BETAS = (0.02, 0.1, 0.5, 2.0, 5.0)
COMMON = 0.1
"""β at which losses are compared with each other."""
SHORT = {
    "logistic": "log.",
    "hinge": "hinge",
    "square": "square",
    "exponential": "exp.",
    "truncated_quadratic": "trunc.",
    "savage": "savage",
}
Wins = Float[Tensor, "losses betas seeds"]


def run(seeds: int, quick: bool) -> Result:
    """Six losses × five β from each of `seeds` policies, 48 steps; a `quick` run has three losses,
    three β, and fewer demonstrations and pairs: too few to check what a large β loses."""
    plan = replace(QUICK, held_out=64) if quick else replace(Plan(), held_out=128)
    betas = (0.02, COMMON, 5.0) if quick else BETAS
    losses = {name: FAMILY[name] for name in (FEW if quick else FAMILY)}
    first, found = traces(seeds, plan, losses, betas, [plan.steps])
    ends = {key: looks[-1] for key, looks in found.items()}
    wins = torch.tensor(
        [
            [[_beats(ends[s, name, beta], first[s]) for s in range(seeds)] for beta in betas]
            for name in losses
        ],
        dtype=torch.float64,
    )
    matrix = _matrix(ends, tuple(losses), seeds)
    with library_style():
        figures = {"win_rate": _figure(wins, matrix, betas, tuple(losses))}
    tables = {
        "against_the_start": _table(wins, ends, betas, tuple(losses)),
        "loss_by_loss": _pairs(matrix, tuple(losses)),
    }
    return Result(
        _checks(wins, matrix, betas, tuple(losses))[: -1 if quick else None],
        figures,
        tables,
        _verdict(wins, matrix, betas, tuple(losses)),
    )


def _beats(a: Look, b: Look) -> float:
    """The win rate of one policy's samples over another's, prompt by prompt."""
    return win_rate(a.rewards.tolist(), b.rewards.tolist(), resamples=1).value


def _matrix(
    ends: Mapping[tuple[int, str, float], Look], losses: tuple[str, ...], seeds: int
) -> Float[Tensor, "losses losses seeds"]:
    return torch.tensor(
        [
            [[_beats(ends[s, a, COMMON], ends[s, b, COMMON]) for s in range(seeds)] for b in losses]
            for a in losses
        ],
        dtype=torch.float64,
    )


def _by_beta_and_loss(wins: Wins) -> tuple[Float[Tensor, " seeds"], Float[Tensor, " seeds"]]:
    """How far win rates lie apart: between β (of the mean over losses), and between losses (of the
    mean over β)."""
    by_beta, by_loss = wins.mean(0), wins.mean(1)
    return (
        by_beta.amax(0) - by_beta.amin(0),
        by_loss.amax(0) - by_loss.amin(0),
    )


def _checks(
    wins: Wins,
    matrix: Float[Tensor, "losses losses seeds"],
    betas: tuple[float, ...],
    losses: tuple[str, ...],
) -> tuple[Check, ...]:
    common = betas.index(COMMON)
    found = [
        above(f"{told(name)}, β = {COMMON}: win rate", over_seeds(wins[i, common]), 0.5)
        for i, name in enumerate(losses)
    ]
    best = wins.amax(1)
    gap, far = best.amax(0) - best.amin(0), (matrix.mean(2) - 0.5).abs().max().item()
    by_beta, by_loss = _by_beta_and_loss(wins)
    drop = (wins[:, common] - wins[:, -1]).mean(0)
    return (
        *found,
        Check(
            "best win rates: largest − smallest of the losses", over_seeds(gap), "< 0.15", high=0.15
        ),
        above("range over β less range over losses", over_seeds(by_beta - by_loss), 0.0),
        Check(f"loss against loss, β = {COMMON}: furthest from 1/2", exact(far), "< 0.2", high=0.2),
        above(f"win rate lost from β = {COMMON} to {betas[-1]:g}", over_seeds(drop), 0.0),
    )


def _table(
    wins: Wins,
    ends: Mapping[tuple[int, str, float], Look],
    betas: tuple[float, ...],
    losses: tuple[str, ...],
) -> list[dict[str, Any]]:
    seeds = range(wins.shape[2])
    return [
        {
            "loss": told(name),
            "beta": beta,
            **over_seeds(wins[i, k]).flat("win_rate"),
            **over_seeds(torch.stack([ends[s, name, beta].rewards.mean() for s in seeds])).flat(
                "gold_reward"
            ),
            "kl": sum(ends[s, name, beta].kl for s in seeds) / len(seeds),
        }
        for i, name in enumerate(losses)
        for k, beta in enumerate(betas)
    ]


def _pairs(
    matrix: Float[Tensor, "losses losses seeds"], losses: tuple[str, ...]
) -> list[dict[str, Any]]:
    return [
        {"loss": told(a), "against": told(b), **over_seeds(matrix[i, j]).flat("win_rate")}
        for i, a in enumerate(losses)
        for j, b in enumerate(losses)
        if i != j
    ]


def _verdict(
    wins: Wins,
    matrix: Float[Tensor, "losses losses seeds"],
    betas: tuple[float, ...],
    losses: tuple[str, ...],
) -> str:
    by_beta, by_loss = (part.mean().item() for part in _by_beta_and_loss(wins))
    best = {name: betas[int(wins[i].mean(1).argmax())] for i, name in enumerate(losses)}
    peaks, last = wins.mean(2).amax(1), wins[..., -1, :].mean().item()
    smallest = {name: wins[i, 0].mean().item() for i, name in enumerate(losses)}
    worst, mildest = (pick(smallest, key=lambda name: smallest[name]) for pick in (min, max))
    far = (matrix.mean(2) - 0.5).abs().max().item()
    return (
        f"Holds. At its best β each loss beats the start in {peaks.min():.0%} to {peaks.max():.0%} "
        f"of prompts; at β = {betas[-1]:g} less ({last:.0%} on average). "
        f"Best β: {', '.join(f'{beta:g} ({told(name)})' for name, beta in best.items())}; at β = "
        f"{betas[0]:g} some go too far ({told(worst)} {smallest[worst]:.0%}) and others do not "
        f"({told(mildest)} {smallest[mildest]:.0%}). Between β the win rate ranges over "
        f"{by_beta:.2f}, between losses over {by_loss:.2f}. Against each other at β = {COMMON} "
        f"losses are within {far:.2f} of 1/2."
    )


def _figure(
    wins: Wins,
    matrix: Float[Tensor, "losses losses seeds"],
    betas: tuple[float, ...],
    losses: tuple[str, ...],
) -> Figure:
    figure, (rates, against) = panels(
        ["win rate against the start", f"row against column, β = {COMMON}"], height=4.2
    )
    for i, name in enumerate(losses):
        line_with_band(rates, betas, wins[i], told(name), i, False)
        rates.lines[-1].set_linestyle(DASHES[name])
    rates.axhline(0.5, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
    rates.set_xscale("log")
    rates.set_xticks(betas, [f"{beta:g}" for beta in betas])
    rates.minorticks_off()
    rates.set_xlabel("β")
    mean = matrix.mean(2)
    against.imshow(mean.numpy(), cmap="RdBu", vmin=0.2, vmax=0.8)
    against.grid(False)
    for i in range(len(losses)):
        for j in range(len(losses)):
            against.text(
                j, i, f"{mean[i, j]:.2f}", ha="center", va="center", fontsize=8, color="black"
            )
    labels = [SHORT[name] for name in losses]
    against.set_xticks(range(len(labels)), labels, fontsize=8, rotation=30)
    against.set_yticks(range(len(labels)), labels, fontsize=8)
    legend_below(figure, rates, columns=3)
    return figure


EXPERIMENT = Experiment(
    name="gpo-win-rate",
    claim="Against the policy that training started from all losses win alike and best at a middle "
    "β, and less at a large one; against each other they are on par: β matters more than the loss.",
    source=f"{SOURCE}, figures 8 and 9, section 5",
    run=run,
    seeds=3,
    quick_seeds=3,
    verdict="holds",
    stops="At β = 0.02 the losses do differ: case I and the hinge go too far, for some seeds below "
    "the start.",
    cpu_s=(190, 38),
)
