"""Figures 4 and 6 of GPO: the loss that offline data keep small against the KL divergence, as a
policy moves away from its reference."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from luce.lab.experiment import Check, Experiment, Result, above, near, over_seeds
from luce.lab.figures import panels
from luce.lab.gpo_family import SOURCE, exact
from luce.lab.gpo_gaussians_world import SPACE, Humps, World, descend, drawn, remote_minima
from luce.report.plots import RUN_COLORS, library_style

# the paper's own means are lost; these were drawn as it says, and the period is ours
DRAWN = World(Humps((-0.14, 3.89, 4.34)), Humps((-1.78, -1.42, 0.72)))
PERIODIC = World(Humps((-6.0, 0.0, 6.0)), Humps((0.0, 3.0, 6.0), 0.5, (0.4, 0.2, 0.4)))
WORLDS = {"drawn": DRAWN, "periodic": PERIODIC}
SHIFTS = torch.linspace(-8, 8, 161, dtype=torch.float64)
STARTS = (-3.0, -1.0, 3.0)
SAMPLES, ESTIMATES = 100_000, 20
# c → (½ E_μ[ρ²], KL), as an independent program found them by quadrature
REFERENCE: dict[str, dict[float, tuple[float, float]]] = {
    "drawn": {1.0: (1.7329, 0.3643), -1.0: (1.0535, 0.3474), -4.188: (1.747, 3.372)},
    "periodic": {3.0: (6.740, 2.839), 6.0: (5.9e-9, 6.0013)},
}
Curves = tuple[Float[Tensor, " shifts"], Float[Tensor, " shifts"]]


def run(seeds: int, quick: bool) -> Result:
    """Quadrature on two worlds; `seeds` more drawn at random, of which a `quick` run looks at every
    second shift only."""
    curves = {name: world.curves(SHIFTS) for name, world in WORLDS.items()}
    thin = SHIFTS[::2] if quick else SHIFTS
    found = [drawn(seed).curves(thin) for seed in range(seeds)]
    remote = torch.tensor([[bool(remote_minima(v, thin)) for v in pair] for pair in found]).double()
    ends = {"squared loss": descend(DRAWN, STARTS, False), "KL": descend(DRAWN, [-6.0], True)}
    with library_style():
        figures = {"gaussians": _figure(curves, ends)}
    tables = {"curves": _table(curves)}
    return Result(_checks(remote, ends, seeds), figures, tables, _verdict(remote, ends))


def _checks(
    remote: Float[Tensor, "worlds 2"], ends: Mapping[str, Tensor], seeds: int
) -> tuple[Check, ...]:
    found = []
    for name, points in REFERENCE.items():
        squared, kl = WORLDS[name].curves(torch.tensor(list(points), dtype=torch.float64))
        for i, (c, expected) in enumerate(points.items()):
            at = f"{name}, c = {c:g}"
            found.append(near(f"{at}: KL", exact(kl[i].item()), expected[1], 1e-3))
            value, wanted = exact(squared[i].item()), expected[0]
            if wanted < 1e-6:  # the table shows three digits
                value, wanted, at = exact(math.log10(value.value)), math.log10(wanted), f"{at}, lg"
            found.append(near(f"{at}: squared loss", value, wanted, 1e-3 if wanted > 0 else 0.01))
    for c in (1.0, -4.188):
        estimates = [DRAWN.estimated(c, SAMPLES, seed) for seed in range(min(seeds, ESTIMATES))]
        for i, what in enumerate(("squared loss", "KL")):
            wanted = REFERENCE["drawn"][c][i]
            value = over_seeds(torch.tensor([pair[i] for pair in estimates], dtype=torch.float64))
            label = f"drawn, c = {c:g}: {what} from 10⁵ samples"
            found.append(near(label, value, wanted, 0.05 * wanted))
    for start, end in zip(STARTS, ends["squared loss"].tolist(), strict=True):
        wanted = -4.188 if start == -3.0 else 0.0
        label = f"descent on the squared loss from c = {start:g} ends at"
        found.append(near(label, exact(end), wanted, 0.002))
    found.append(near("descent on KL from c = −6 ends at", exact(ends["KL"].item()), 0.0, 0.002))
    before, after = DRAWN.curves(torch.tensor([-3.0, -4.188], dtype=torch.float64))[1].tolist()
    found += [
        above("KL gained on the way from c = −3", exact(after - before), 1.0),
        near(
            "drawn worlds whose squared loss has a far minimum",
            over_seeds(remote[:, 0]),
            0.225,
            0.1,
        ),
        near("drawn worlds whose KL has one", over_seeds(remote[:, 1]), 0.0, 0.0),
        *(
            near(
                f"eq. 8 at c = {c:g}: ∇E[ρ²] on policy / ∇KL",
                exact(DRAWN.on_policy_ratio(c)),
                4.0,
                1e-6,
            )
            for c in (1.0, -3.0)
        ),
    ]
    return tuple(found)


def _table(curves: Mapping[str, Curves]) -> list[dict[str, Any]]:
    return [
        {"world": name, "c": c, "squared_loss": s, "kl": k}
        for name, (squared, kl) in curves.items()
        for c, s, k in zip(SHIFTS.tolist(), squared.tolist(), kl.tolist(), strict=True)
    ]


def _verdict(remote: Float[Tensor, "worlds 2"], ends: Mapping[str, Tensor]) -> str:
    share = over_seeds(remote[:, 0]).percent()
    return (
        "Holds. Near c = 0 both losses fall together. Far away the squared loss, which looks only "
        "where data lie, has minima of its own: descent from c = −3 goes to c = "
        f"{ends['squared loss'][0].item():.3f} and KL rises on the way, while descent on KL comes "
        "home even from −6. In a world with a period the squared loss is 6·10⁻⁹ where KL is 6 "
        f"nats. It is no rare accident, nor the rule: of worlds drawn at random "
        f"{share} have such a minimum and none has one of KL. Drawn on policy the squared loss has "
        "the gradient of KL: four times it for E[ρ²], twice for half of that."
    )


def _figure(curves: Mapping[str, Curves], ends: Mapping[str, Tensor]) -> Figure:
    figure, (densities, one, two) = panels(
        ["densities, drawn means", "moved by c, drawn means", "moved by c, a period of 6"],
        height=3.8,
    )
    assert SPACE.points is not None  # it is a grid
    x = SPACE.points
    inside = (x >= -10) & (x <= 10)
    for i, (label, values) in enumerate(
        {
            r"$\pi_{ref}$": DRAWN.reference.log_prob(x),
            r"$\mu$, where data lie": DRAWN.data.log_prob(x),
            r"$\pi_c$, c = −4.188": DRAWN.reference.log_prob(x + 4.188),
        }.items()
    ):
        y = values.exp()[inside].tolist()
        densities.plot(x[inside].tolist(), y, color=RUN_COLORS[i + 2], linewidth=1.4, label=label)
    densities.set_ylim(0, 0.38)
    densities.set_xlabel("x")
    away = SHIFTS.abs() > 1e-9  # at 0 both are 0, which no log scale shows
    for axes, (squared, kl) in zip((one, two), curves.values(), strict=True):
        for i, (label, values) in enumerate(
            {r"$\frac{1}{2}E_\mu[\rho^2]$": squared, r"KL($\pi_c$ ‖ $\pi_{ref}$)": kl}.items()
        ):
            shown = torch.where(away, values, torch.nan)
            axes.plot(
                SHIFTS.tolist(), shown.tolist(), color=RUN_COLORS[i], linewidth=1.5, label=label
            )
        axes.set_yscale("log")
        axes.set_xlabel("c")
    one.set_ylim(1e-3, 40)
    two.set_ylim(1e-9, 100)
    start, end = STARTS[0], ends["squared loss"][0].item()
    for color, pick in ((RUN_COLORS[0], 0), (RUN_COLORS[1], 1)):
        values = DRAWN.curves(torch.tensor([start, end], dtype=torch.float64))[pick].tolist()
        one.plot(start, values[0], "o", color=color, fillstyle="none", markersize=7)
        one.plot(end, values[1], "o", color=color, markersize=7)
    one.annotate("○ start, ● end of descent\non the squared loss", (-7.8, 0.0015), fontsize=8.5)
    densities.legend(loc="upper left", fontsize=8.5)
    one.legend(loc="lower right", fontsize=9, bbox_to_anchor=(1.0, 0.12))
    two.legend(loc="lower left", fontsize=9)
    return figure


EXPERIMENT = Experiment(
    name="gpo-gaussians",
    claim="Minimizing the μ-weighted squared loss need not lower the KL divergence: on mixtures of "
    "Gaussians it has minima far from the reference, though near it both go together.",
    source=f"{SOURCE}, figures 4 and 6, equations 6 to 8, appendices A.2 and B.1",
    run=run,
    seeds=200,
    quick_seeds=40,
    verdict="holds",
    stops="Neither rare nor the rule: 22 % of worlds drawn at random have a far minimum of the "
    "squared loss, none has one of KL.",
    cpu_s=(5, 4),
)
