"""The optimum as Gibbs's distribution: free energy, temperature, and what no policy can see."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
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
from luce.lab.figures import line_with_band, panels
from luce.lab.gibbs_world import BASES, BETAS, LABELS, TRAINED, Curves, Seen, drawn, gibbs, see
from luce.models.tabular import KlBandit, actions
from luce.report.plots import INK, RUN_COLORS, RUN_MARKS, library_style


def run(seeds: int, quick: bool) -> Result:
    """`seeds` worlds; `quick` changes nothing else."""
    return result([see(drawn(seed), seed) for seed in range(seeds)])


def result(seen: Sequence[Seen]) -> Result:
    """Checks, figure and verdict."""
    checks = [*_by_hand(), *_thermodynamics(seen), *_trained(seen), *_unseen(seen)]
    with library_style():
        figures = {"temperature": _figure(seen)}
    hot, cold = (_over(seen, lambda one, b=b: one.bases[b][1]).value for b in (BASES[0], BASES[-1]))
    verdict = (
        "Holds. π₀ exp(r/β)/Z is where J is highest, with the value β log Z; J* is minus a free "
        "energy, dJ*/dβ = −KL and dE[r]/dβ = −Var(r)/β² as in physics, and DPO on the "
        "annotator's labels ends there, at every β. A shift of r by a function of the prompt "
        "changes Z and nothing else: the text's “Z(x) does depend on y” has lost a “not”. The "
        "base of the annotator's powers is a matter of units only if r or β is rescaled with it. "
        f"With the same r and β the base is a temperature, 1/log a: DPO earns {hot:.2f} from an "
        f"annotator with base {BASES[0]:g}, {cold:.2f} with base {BASES[-1]:g}."
    )
    return Result(tuple(checks), figures, {"curves": _rows(seen), "roads": _roads(seen)}, verdict)


def _over(seen: Sequence[Seen], of: Callable[[Seen], float | Tensor]) -> Estimate:
    return over_seeds(torch.tensor([float(of(one)) for one in seen], dtype=torch.float64))


def _by_hand() -> list[Check]:
    """r = (1, 2, 3), π₀ = (.5, .3, .2), β = ½: Z = .5 e² + .3 e⁴ + .2 e⁶."""
    reward = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    small = KlBandit(actions(3).weights([0.5, 0.3, 0.2]), reward, 0.5)
    best = small.optimum()
    powers = 10 ** torch.tensor([1.3, 0.4], dtype=torch.float64)
    return [
        near("three actions: Z", exactly(small.log_partition.exp().item()), 100.759732, 1e-6),
        near("three actions: J*", exactly(small.best_value.item()), 2.306369, 1e-6),
        near("three actions: KL", exactly(best.kl(small.reference).item()), 0.915475, 1e-6),
        near("three actions: π*(3)", exactly(best.probability[2].item()), 0.800774, 1e-6),
        near(
            "P(r = 1.3 ≻ r = 0.4) with base 10",
            exactly((powers[0] / powers.sum()).item()),
            torch.sigmoid(torch.tensor(0.9 * math.log(10.0))).item(),
            1e-7,
        ),
    ]


def _thermodynamics(seen: Sequence[Seen]) -> list[Check]:
    def worst(of: Callable[[Curves], Tensor]) -> Estimate:
        return _over(seen, lambda one: of(one.curves).abs().max())

    def least(of: Callable[[Curves], Tensor]) -> Estimate:
        return _over(seen, lambda one: of(one.curves).min())

    def ends(one: Seen) -> float:
        r, value = one.world.reward, one.curves.value
        low, high = one.world.reference.expectation(r), r.max()
        return float(torch.minimum(value - low, high - value).min())

    return [
        at_most("J(π*) less β log Z, over all β", worst(lambda c: c.direct - c.value), 1e-10),
        at_most("J* − J(π) less β KL(π ‖ π*)", _over(seen, lambda one: one.gap[0]), 1e-10),
        _positive("J* − J(π) of policies at random", _over(seen, lambda one: one.gap[1])),
        at_most("dJ*/dβ + KL, over all β", worst(lambda c: c.value_slope + c.kl), 1e-9),
        at_most(
            "dE[r]/dβ + Var(r)/β², over all β",
            worst(lambda c: c.reward_slope + c.capacity),
            1e-8,
        ),
        _positive("E[r] falls with β: least fall", least(lambda c: -c.reward.diff())),
        _positive("KL falls with β: least fall", least(lambda c: -c.kl.diff())),
        _positive("J* lies between E_π₀[r] and max r: by", _over(seen, ends)),
    ]


def _positive(what: str, found: Estimate) -> Check:
    """Of a number that is exact in each world, so that the interval is one over worlds only."""
    return Check(what, found, "> 0", low=1e-12)


def _trained(seen: Sequence[Seen]) -> list[Check]:
    def of(road: str, beta: float) -> Estimate:
        return _over(seen, lambda one: one.roads[road, beta])

    exact = [
        at_most(f"{road}, β = {beta:g}: TV to π₀ exp(r/β)/Z", of(road, beta), 1e-5)
        for road in ("J itself", "DPO")
        for beta in TRAINED
    ]
    sampled = [
        at_most(f"DPO, {LABELS} hard labels, β = {beta:g}: likewise", of("DPO, hard labels", beta),
                0.05)
        for beta in TRAINED
    ]  # fmt: skip
    return exact + sampled


def _unseen(seen: Sequence[Seen]) -> list[Check]:
    shifts = [
        at_most(f"r + f(x): change of {what}", _over(seen, lambda one, w=what: one.shifted[w]), tv)
        for what, tv in (("labels", 1e-12), ("log Z", 1e-12), ("the optimum", 1e-12), ("DPO", 1e-5))
    ]

    def worst(of: Callable[[Seen], Iterable[float]]) -> Estimate:
        return _over(seen, lambda one: max(of(one)))

    bases = [
        at_most(
            "any base, r/log a: change of labels", worst(lambda one: one.other.values()), 1e-12
        ),
        at_most(
            "any base, DPO: TV to Gibbs at the temperature 1/log a",
            worst(lambda one: (tv for tv, _, _ in one.bases.values())),
            1e-5,
        ),
        at_most(
            "any base, DPO with β log a: TV to base e",
            worst(lambda one: (tv for _, _, tv in one.bases.values())),
            1e-5,
        ),
        above(
            f"E[r] of DPO at β = 1: base {BASES[-1]:g} less base {BASES[0]:g}",
            _over(seen, lambda one: one.bases[BASES[-1]][1] - one.bases[BASES[0]][1]),
            0.0,
        ),
    ]
    return shifts + bases


def _rows(seen: Sequence[Seen]) -> list[dict[str, Any]]:
    return [
        {
            "beta": beta,
            **_over(seen, lambda one, k=k: one.curves.value[k]).flat("value"),
            **_over(seen, lambda one, k=k: one.curves.reward[k]).flat("reward"),
            **_over(seen, lambda one, k=k: one.curves.kl[k]).flat("kl"),
            **_over(seen, lambda one, k=k: one.curves.capacity[k]).flat("heat_capacity"),
        }
        for k, beta in enumerate(BETAS)
    ]


def _roads(seen: Sequence[Seen]) -> list[dict[str, Any]]:
    return [
        {"road": road, "beta": beta, **_over(seen, lambda o, k=(road, beta): o.roads[k]).flat("tv")}
        for road, beta in seen[0].roads
    ]


def _figure(seen: Sequence[Seen]) -> Figure:
    figure, (left, middle, right) = panels(
        ["J* = E[r] − β KL, along β", "what the temperature moves", "the base is a temperature"],
        3.9,
    )
    told = (("J* = β log Z", "value"), ("E[r]", "reward"))
    for number, (label, name) in enumerate(told):
        values = torch.stack([getattr(one.curves, name) for one in seen], 1)
        line_with_band(left, BETAS, values, label, number, marks=False)
    for number, (label, name) in enumerate((("KL(π* ‖ π₀), nats", "kl"),
                                            ("Var(r)/β²", "capacity"))):  # fmt: skip
        values = torch.stack([getattr(one.curves, name) for one in seen], 1)
        line_with_band(middle, BETAS, values, label, number + 2, marks=False)
    means = torch.stack([one.curves.value for one in seen]).mean(0)
    slope = -(means[2:] - means[:-2]) / (torch.tensor(BETAS[2:]) - torch.tensor(BETAS[:-2]))
    middle.plot(BETAS[1:-1:2], slope[::2], ".", color=INK, label="−ΔJ*/Δβ")
    heats = [0.05 * k for k in range(6, 50)]
    worlds = [one.world for one in seen]
    theory = [[gibbs(w.reference, w.reward, 1 / h).expectation(w.reward) for w in worlds]
              for h in heats]  # fmt: skip
    right.plot([math.exp(h) for h in heats], [torch.stack(row).mean() for row in theory], "-.",
               color=INK, linewidth=1.3, label="theory: Gibbs at 1/log a")  # fmt: skip
    earned = [_over(seen, lambda one, b=b: one.bases[b][1]).value for b in BASES]
    right.plot(BASES, earned, RUN_MARKS[4], color=RUN_COLORS[4], label="DPO, β = 1, trained")
    fair = _over(seen, lambda one: one.bases[math.e][1]).value
    right.axhline(fair, color=RUN_COLORS[5], linestyle=(0, (4, 2)), linewidth=1.0,
                  label="DPO, β = log a")  # fmt: skip
    for axes in (left, middle, right):
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.legend(fontsize=8.5)
    for axes in (left, middle):
        axes.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
        axes.set_xlabel("temperature β")
    right.set_xticks(BASES, ["1.5", "2", "e", "4", "10"])
    right.set_xlabel("base a of the annotator's powers")
    right.set_ylabel("E[r]")
    left.set_ylabel("reward")
    return figure


EXPERIMENT = Experiment(
    name="gibbs",
    claim="The optimum of E[r] − β KL(π ‖ π₀) is Gibbs's distribution π₀ exp(r/β)/Z with β for "
    "k_B T, which DPO learns without a reward model; any base a in the place of e would do.",
    source="Viewing direct policy optimization from a physical perspective, eq. 1 to 12",
    run=run,
    seeds=20,
    quick_seeds=5,
    verdict="holds",
    stops="The base is a matter of units only if r or β is rescaled with it: with the same r and β "
    "it is a temperature, 1/log a.",
    cpu_s=(15, 6),
)
