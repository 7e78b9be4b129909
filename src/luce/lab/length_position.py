"""What objectives do to length where the policy may end sooner or later at every position."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from torch import Tensor

from luce.intervals import Estimate
from luce.lab.experiment import (
    Check,
    Experiment,
    Result,
    above,
    at_most,
    exactly,
    near,
    over_seeds,
)
from luce.lab.figures import panels
from luce.lab.length_bias import made
from luce.lab.length_world import REFERENCE, REWARDS, Strings
from luce.models.tabular import minimize
from luce.objectives import Objective
from luce.report.plots import INK, RUN_COLORS, library_style
from luce.types import Pairs, Responses

LONGEST = 40
"""Tokens, the end among them: what has not ended is ended there."""
NEVER = -60.0
"""log p of going on at the last position."""
SHARP = 8.0
"""Labels of r* are those of 8 r*: its differences are small."""
TOTAL, MEAN = "r_LM = |y| r*", "r*"
Policy = Float[Tensor, "positions 3"]


@dataclass(frozen=True)
class Arm:
    """An objective, the labels that it sees, and where its mean length was found or is known to be.

    Attributes:
        preset, parameters: of the objective.
        labels: `TOTAL` or `MEAN`.
        length: (low, high) of the mean length in tokens, at the published size.
    """

    preset: str
    parameters: Mapping[str, float]
    labels: str
    length: tuple[float, float]


ARMS = {
    "DPO, β = 2": Arm("dpo", {"beta": 2.0}, TOTAL, (30.5, 34.0)),
    "DPO, β = 5": Arm("dpo", {"beta": 5.0}, TOTAL, (16.3, 18.3)),
    "SLiC, δ = 1, λ = 0.1": Arm("slic", {"delta": 1.0, "lam": 0.1}, TOTAL, (33.3, 36.3)),
    "SimPO, β = 10": Arm("simpo", {"beta": 10.0, "gamma": 0.0}, TOTAL, (23.5, 34.0)),
    "LN-DPO, β = 10": Arm("ln_dpo", {"beta": 10.0}, TOTAL, (31.0, 35.0)),
    "R-DPO, β = 2, α = 0.3": Arm("rdpo", {"beta": 2.0, "alpha": 0.3}, TOTAL, (9.8, 11.8)),
    "Luce": Arm("luce", {}, MEAN, (34.0, 40.0)),
    "SLiC, δ = 1, λ = 0": Arm("slic", {"delta": 1.0, "lam": 0.0}, MEAN, (34.0, 40.0)),
    "DPO, β = 2 ": Arm("dpo", {"beta": 2.0}, MEAN, (10.0, 13.0)),
    "SimPO, β = 2": Arm("simpo", {"beta": 2.0, "gamma": 0.0}, MEAN, (9.0, 11.5)),
}
"""The first six numbers, SimPO's and LN-DPO's as ranges over β, and those of Luce and SLiC on r*
were found by an independent program on such a world."""


@dataclass(frozen=True)
class Placed:
    """Pairs of strings, and which number of a table of positions each token is.

    Attributes:
        strings: cut at `LONGEST`.
        index: 3 · position + token.
    """

    strings: Strings = field(repr=False)
    index: Int[Tensor, " tokens"] = field(repr=False)

    def pairs(self, policy: Policy, label: Float[Tensor, " pairs"]) -> Pairs:
        """The first half of the strings against the second."""
        lengths = self.strings.lengths
        half = len(lengths) // 2
        cut = int(lengths[:half].sum())
        p, ref = policy.flatten()[self.index], reference().flatten()[self.index]
        return Pairs(
            Responses(p[:cut], lengths[:half], ref[:cut]),
            Responses(p[cut:], lengths[half:], ref[cut:]),
            label,
        )


@dataclass(frozen=True)
class Seen:
    """What an arm ended at, from one seed: log p by position, and mean tokens."""

    policy: Policy = field(repr=False)
    length: float


def run(seeds: int, quick: bool) -> Result:
    """`seeds` sets of pairs; fewer of them in a quick run."""
    pairs = 16384 if quick else 65536
    drawn = [draw(pairs, seed) for seed in range(seeds)]
    ended = {
        name: [learnt(arm, one, seed) for seed, one in enumerate(drawn)]
        for name, arm in ARMS.items()
    }
    return result(ended, quick)


def reference() -> Policy:
    """log π_ref by position: the same everywhere, the end alone at the last."""
    every = torch.tensor(REFERENCE, dtype=torch.float64).log().expand(LONGEST - 1, 3)
    return ended_at_last(every)


def ended_at_last(log_p: Float[Tensor, "before 3"]) -> Policy:
    """With a last position where nothing but the end is left."""
    last = torch.tensor([[NEVER, NEVER, 0.0]], dtype=log_p.dtype)
    return torch.cat([log_p, last])


def mean_length(policy: Policy) -> float:
    """Σ_t P(not ended before t), tokens."""
    going_on = 1 - policy[:-1, 2].exp()
    return 1 + going_on.cumprod(0).sum().item()


def draw(pairs: int, seed: int) -> Placed:
    """So many pairs of strings from π_ref, cut."""
    generator = torch.Generator().manual_seed(seed)
    u = torch.rand(2 * pairs, generator=generator, dtype=torch.float64)
    lengths = ((u.log() / math.log(1 - REFERENCE[2])).floor() + 1).long().clamp(max=LONGEST)
    total = int(lengths.sum())
    tokens = torch.randint(0, 2, (total,), generator=generator)
    ends = lengths.cumsum(0) - 1
    tokens[ends] = 2
    rows = torch.repeat_interleave(torch.arange(2 * pairs), lengths)
    position = torch.arange(total) - (ends - lengths + 1)[rows]
    counts = torch.zeros(2 * pairs, 3, dtype=torch.float64)
    counts.index_put_((rows, tokens), torch.ones(total, dtype=torch.float64), accumulate=True)
    return Placed(Strings(tokens, lengths, counts), 3 * position + tokens)


def learnt(arm: Arm, placed: Placed, seed: int) -> Seen:
    """Fit an arm to hard labels."""
    of = placed.strings
    label = of.labels(of.total if arm.labels == TOTAL else SHARP * of.mean, seed)
    policy = fit(made(arm.preset, **arm.parameters), placed, label)
    return Seen(policy, mean_length(policy))


def fit(objective: Objective, placed: Placed, label: Float[Tensor, " pairs"]) -> Policy:
    """The policy that the objective ends at, from π_ref on."""

    def cost(logits: Tensor) -> Tensor:
        return objective(placed.pairs(ended_at_last(logits.log_softmax(1)), label)).mean()

    start = reference()[:-1].clone()
    (logits,) = minimize(cost, [start], tolerance=None, steps=60, newton=0)
    return ended_at_last(logits.log_softmax(1))


def tilted(rewards: Sequence[float], beta: float) -> Policy:
    """π_ref exp(Σ rewards/β)/Z over strings of at most `LONGEST` tokens, by position: the chance of
    a token is its own weight times what may still come after, from the last position back."""
    weight = torch.tensor(
        [p * math.exp(r / beta) for p, r in zip(REFERENCE, rewards, strict=True)],
        dtype=torch.float64,
    )
    after, rows = torch.tensor(math.exp(rewards[2] / beta), dtype=torch.float64), []
    for _ in range(LONGEST - 1):
        row = torch.stack([weight[0] * after, weight[1] * after, weight[2]])
        after = row.sum()
        rows.append((row / after).log())
    return ended_at_last(torch.stack(rows[::-1]))


def theory() -> dict[str, Policy]:
    """Closed forms, of the arms that have one: DPO, and R-DPO with α off every token's reward."""
    alpha = ARMS["R-DPO, β = 2, α = 0.3"].parameters["alpha"]
    return {
        "DPO, β = 2": tilted(REWARDS, 2.0),
        "DPO, β = 5": tilted(REWARDS, 5.0),
        "R-DPO, β = 2, α = 0.3": tilted([r - alpha for r in REWARDS], 2.0),
    }


def over_closed_form(objective: Objective, placed: Placed, policy: Policy) -> float:
    """How far the score's difference is from that of r_LM, at most: at the optimum it is that."""
    pairs = placed.pairs(policy, torch.zeros(len(placed.strings.lengths) // 2))
    first, second = placed.strings.total.chunk(2)
    gap = objective.score(pairs.chosen) - objective.score(pairs.rejected)
    return (gap - (first - second)).abs().max().item()


def result(ended: Mapping[str, Sequence[Seen]], quick: bool) -> Result:
    """Checks, figure and verdict."""
    lengths = {name: _over(seen) for name, seen in ended.items()}
    start = mean_length(reference())
    checks: list[Check] = [near("π_ref: mean tokens", exactly(start), 9.852, 1e-3)]
    for name, arm in ARMS.items():
        low, high = arm.length
        wide = 4.5 if quick else 0.0
        label = f"{name.strip()}, labels of {arm.labels}: mean tokens"
        found = lengths[name]
        words = f"{low - wide:.3g} to {min(high + wide, LONGEST):.3g}"
        checks.append(Check(label, found, words, low - wide, high + wide))
    sample = draw(2000, 99)
    for name, policy in theory().items():
        arm, gap = ARMS[name], 3.5 if quick else 2.0
        off = over_closed_form(made(arm.preset, **arm.parameters), sample, policy)
        closed = mean_length(policy)
        checks += [
            at_most(f"{name}: score of the closed form less r_LM, in pairs", exactly(off), 1e-9),
            near(f"{name}: mean tokens of the closed form and learnt", lengths[name], closed, gap),
        ]
    checks.append(
        above("SimPO on labels of |y| r*: mean tokens", lengths["SimPO, β = 10"], start + 5)
    )
    rows: list[dict[str, Any]] = [
        {
            "objective": name.strip(),
            "labels": ARMS[name].labels,
            **lengths[name].flat("tokens"),
            "closed_form": mean_length(theory()[name]) if name in theory() else None,
        }
        for name in ended
    ]
    with library_style():
        figures = {"lengths": _figure(ended, lengths, start)}

    def told(name: str) -> str:
        return f"{lengths[name].value:.0f}"

    closed = mean_length(theory()["DPO, β = 2"])
    verdict = (
        f"Holds of the bias, not of the remedy, also where the policy may end at a place of its "
        f"choice: from {start:.1f} tokens, with labels of |y| r*, DPO goes to "
        f"{told('DPO, β = 2')} at β = 2 (closed form {closed:.1f}), SLiC to "
        f"{told('SLiC, δ = 1, λ = 0.1')}, SimPO to {told('SimPO, β = 10')} and LN-DPO to "
        f"{told('LN-DPO, β = 10')} of {LONGEST}: normalizing does not hold the length. R-DPO "
        f"does ({told('R-DPO, β = 2, α = 0.3')}). Scores without a reference lengthen even where "
        f"labels follow r*, which does not care: Luce {told('Luce')}, SLiC without likelihood "
        f"{told('SLiC, δ = 1, λ = 0')}. There are more long strings than short ones, and nothing "
        "says that they are rare."
    )
    return Result(tuple(checks), figures, {"lengths": rows}, verdict)


def _over(seen: Sequence[Seen]) -> Estimate:
    return over_seeds(torch.tensor([one.length for one in seen], dtype=torch.float64))


def _figure(
    ended: Mapping[str, Sequence[Seen]], lengths: Mapping[str, Estimate], start: float
) -> Figure:
    figure, (left, right) = panels(["chance of the end, by position", "mean tokens"], 4.2)
    figure.set_figwidth(10.0)
    position = list(range(1, LONGEST))
    shown = ("DPO, β = 2", "SimPO, β = 10", "R-DPO, β = 2, α = 0.3", "Luce")
    for number, name in enumerate(shown):
        ends = torch.stack([one.policy[:-1, 2].exp() for one in ended[name]])
        left.fill_between(position, ends.amin(0).tolist(), ends.amax(0).tolist(),
                          color=RUN_COLORS[number], alpha=0.2, linewidth=0)  # fmt: skip
        left.plot(position, ends.mean(0).tolist(), color=RUN_COLORS[number], label=name)
        if name in theory():
            left.plot(position, theory()[name][:-1, 2].exp().tolist(), "-.", color=INK,
                      linewidth=1.1, label="closed form" if number == 0 else None)  # fmt: skip
    left.axhline(REFERENCE[2], color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
    left.annotate("π_ref", (13, 0.112), fontsize=8.5, color=INK)
    left.set_yscale("log")
    left.set_ylim(1e-3, 1)
    left.minorticks_off()
    left.set_xlabel("position")
    left.legend(fontsize=8.5, loc="upper left", ncols=2)
    names = list(ended)
    for row, name in enumerate(names):
        color = RUN_COLORS[0] if ARMS[name].labels == TOTAL else RUN_COLORS[1]
        value = lengths[name].value
        right.barh([row], [value], color=color, alpha=0.75)
        right.annotate(f"{value:.1f}", (value + 0.5, row), va="center", fontsize=8.5)
    for labels, number in ((TOTAL, 0), (MEAN, 1)):
        right.barh([0], [0], color=RUN_COLORS[number], alpha=0.75, label=f"labels of {labels}")
    right.axvline(start, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
    right.set_yticks(range(len(names)), [name.strip() for name in names], fontsize=8.5)
    right.invert_yaxis()
    right.set_xlim(0, LONGEST + 5)
    right.set_xlabel(f"tokens, of {LONGEST} at most; dotted: π_ref")
    right.legend(fontsize=8.5, loc="upper center", bbox_to_anchor=(0.4, -0.13), ncols=2)
    return figure


EXPERIMENT = Experiment(
    name="length-position",
    claim="Annotators that favour length make policies longer and a length-normalized objective "
    "mitigates it: the same where the chance of the end depends on the position.",
    source="Malladi, The Hidden Infinity in Preference Learning; Park et al., arXiv:2403.19159",
    run=run,
    seeds=3,
    quick_seeds=3,
    verdict="holds in part",
    stops="The bias does, the remedy does not: SimPO and LN-DPO lengthen nearly as DPO does, and "
    "scores without a reference lengthen even on labels of r*. R-DPO keeps the length.",
    cpu_s=(53, 13),
)
