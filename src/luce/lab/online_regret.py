"""Regret against the number of comparisons: offline, online, with enhancers, with a moving
reference; on worlds whose π₀ hides features, avoids good actions, or covers everything."""

from typing import Any

from torch import Tensor

from luce.lab.experiment import (
    Check,
    Experiment,
    Result,
    above,
    below,
    near,
    over_seeds,
    ratio_over_seeds,
)
from luce.lab.figures import legend_below, line_with_band, panels
from luce.models.tabular import LINEAR_WORLDS
from luce.online.explore import STRATEGIES, Trajectory, learn
from luce.report.plots import library_style

TITLES = {
    "gap": "π₀ hides half of the features",
    "biased": "π₀ avoids good actions",
    "cover": "π₀ covers everything",
}
# J(π*) − J(π_MLE) at 100, 300 and 600 comparisons as an independent program found it on worlds of
# this kind, 40 of them; it does not give their dimensions, and ours were chosen to come near
REFERENCE: dict[str, dict[str, tuple[float, float, float]]] = {
    "gap": {
        "offline": (0.77, 1.41, 0.86),
        "two_samples": (0.90, 0.41, 0.18),
        "best_worst": (0.79, 0.22, 0.10),
        "enhancer_actions": (0.83, 0.185, 0.085),
        "enhancer_samples": (0.94, 0.17, 0.063),
        "moving": (0.90, 0.67, 0.58),
    },
    "biased": {
        "offline": (0.30, 0.094, 0.044),
        "two_samples": (0.44, 0.21, 0.099),
        "best_worst": (0.45, 0.18, 0.075),
        "enhancer_actions": (0.37, 0.086, 0.047),
        "enhancer_samples": (0.34, 0.095, 0.037),
        "moving": (0.44, 0.36, 0.34),
    },
    "cover": {
        "offline": (0.249, 0.067, 0.037),
        "two_samples": (0.35, 0.159, 0.078),
        "best_worst": (0.26, 0.085, 0.040),
        "enhancer_actions": (0.26, 0.094, 0.051),
        "enhancer_samples": (0.23, 0.078, 0.038),
        "moving": (0.35, 0.27, 0.25),
    },
}
AT = (100, 300, 600)
Runs = dict[str, dict[str, Trajectory]]


def run(seeds: int, quick: bool) -> Result:
    """12 rounds of 50 comparisons in `seeds` worlds of each kind; `quick` changes nothing else."""
    runs = {
        world: {name: learn(make(seeds), strategy, 1) for name, strategy in STRATEGIES.items()}
        for world, make in LINEAR_WORLDS.items()
    }
    with library_style():
        figures = {"regret": _regret(runs), "reference": _reference(runs)}
    checks = _checks(runs)
    tables = {"regret": _table(runs), "moving_reference": _moving_table(runs)}
    return Result(checks, figures, tables, _verdict(runs))


def _at(run: Trajectory, comparisons: int) -> Tensor:
    return run.regret[run.comparisons.tolist().index(comparisons)]


def _checks(runs: Runs) -> tuple[Check, ...]:
    gap, cover = runs["gap"], runs["cover"]
    offline, online = _at(gap["offline"], 600), _at(gap["two_samples"], 600)
    found = [
        above("gap, regret at 600: offline / online", ratio_over_seeds(offline, online), 3.0),
        *(
            above(
                f"gap, regret at 600: online / {STRATEGIES[name].label}",
                ratio_over_seeds(online, _at(gap[name], 600)),
                1.0,
            )
            for name in ("enhancer_actions", "enhancer_samples")
        ),
        above(
            "gap, offline regret: at 300 less at 50",
            over_seeds(_at(gap["offline"], 300) - _at(gap["offline"], 50)),
            0.0,
        ),
        *(
            near(
                f"gap, offline regret at {n}",
                over_seeds(_at(gap["offline"], n)),
                REFERENCE["gap"]["offline"][i],
                0.35,
            )
            for i, n in enumerate(AT)
        ),
        above(
            "cover, regret at 600: online less offline",
            over_seeds(_at(cover["two_samples"], 600) - _at(cover["offline"], 600)),
            0.0,
        ),
        near("cover, offline regret at 600", over_seeds(_at(cover["offline"], 600)), 0.037, 0.015),
        near(
            "cover, online regret at 600", over_seeds(_at(cover["two_samples"], 600)), 0.078, 0.04
        ),
    ]
    for world in ("gap", "biased"):
        fixed, moving = runs[world]["two_samples"], runs[world]["moving"]
        kl = ratio_over_seeds(moving.deployed_kl[-1], fixed.deployed_kl[-1])
        reward = over_seeds(moving.deployed_reward[-1] - fixed.deployed_reward[-1])
        value = over_seeds(fixed.deployed_regret[-1] - moving.deployed_regret[-1])
        found += [
            above(f"{world}, KL to π₀: moving / fixed reference", kl, 1.4),
            above(f"{world}, gold reward: moving less fixed", reward, 0.0),
            below(f"{world}, J with respect to π₀: moving less fixed", value, 0.0),
        ]
    return tuple(found)


def _table(runs: Runs) -> list[dict[str, Any]]:
    return [
        {
            "world": world,
            "strategy": STRATEGIES[name].label,
            "comparisons": n,
            **over_seeds(_at(run, n)).flat("regret"),
            "reference": REFERENCE[world][name][i],
        }
        for world, by_name in runs.items()
        for name, run in by_name.items()
        for i, n in enumerate(AT)
    ]


def _moving_table(runs: Runs) -> list[dict[str, Any]]:
    return [
        {
            "world": world,
            "reference": STRATEGIES[name].reference,
            **over_seeds(run.deployed_kl[-1]).flat("kl"),
            **over_seeds(run.deployed_reward[-1]).flat("gold_reward"),
            **over_seeds(run.deployed_regret[-1]).flat("regret"),
        }
        for world, by_name in runs.items()
        for name, run in by_name.items()
        if name in ("two_samples", "moving")
    ]


def _verdict(runs: Runs) -> str:
    gap, cover = runs["gap"], runs["cover"]
    times = ratio_over_seeds(_at(gap["offline"], 600), _at(gap["two_samples"], 600)).value
    samples, actions = (
        over_seeds(_at(cover[name], 600) - _at(cover["offline"], 600)).words()
        for name in ("enhancer_samples", "enhancer_actions")
    )
    return (
        "Holds where π₀ hides features: there offline learning over-estimates what it rarely sees "
        f"and is {times:.1f} times worse than online learning after 600 comparisons, and enhancers "
        "are better still. Does not hold where π₀ covers the features: online learning without "
        "exploration does not beat offline learning there; less offline's regret at 600, the "
        f"enhancer over 8 samples has {samples}, the one over all actions {actions}. A moving "
        "reference leaves π₀: more reward, more KL, a lower J."
    )


def _regret(runs: Runs) -> Any:
    figure, all_axes = panels([TITLES[world] for world in runs])
    for axes, by_name in zip(all_axes, runs.values(), strict=True):
        for number, (name, run) in enumerate(by_name.items()):
            x = [float(n) for n in run.comparisons.tolist()]
            line_with_band(axes, x, run.regret, STRATEGIES[name].label, number)
        axes.set_yscale("log")
        axes.set_ylim(0.015, 3.0)
        axes.set_yticks([0.03, 0.1, 0.3, 1.0, 3.0], ["0.03", "0.1", "0.3", "1", "3"])
        axes.minorticks_off()
        axes.set_xticks([0, 200, 400, 600])
        axes.set_xlabel("comparisons")
    all_axes[0].set_ylabel(r"$J(\pi^*) - J(\hat\pi)$")
    legend_below(figure, all_axes[0])
    return figure


def _reference(runs: Runs) -> Any:
    figure, all_axes = panels(
        [r"KL($\pi_t$ ‖ $\pi_0$), nats", r"gold reward of $\pi_t$", r"$J(\pi^*) - J(\pi_t)$"]
    )
    lines = [(w, n) for w in ("gap", "biased") for n in ("two_samples", "moving")]
    for number, (world, name) in enumerate(lines):
        run = runs[world][name]
        label = f"{world}, {'fixed' if name == 'two_samples' else 'moving'} reference"
        x = [float(n) for n in run.comparisons.tolist()]
        for axes, values in zip(
            all_axes, (run.deployed_kl, run.deployed_reward, run.deployed_regret), strict=True
        ):
            line_with_band(axes, x, values, label, number)
            axes.set_xlabel("comparisons")
            axes.set_xticks([0, 200, 400, 600])
    legend_below(figure, all_axes[0], columns=2)
    return figure


EXPERIMENT = Experiment(
    name="online-regret",
    claim="Online iterative learning outperforms the offline variant by a large margin; an "
    "enhancer that seeks uncertainty makes it provably efficient.",
    source="Xiong, Iterative Preference Learning, theorem and takeaways; arXiv:2312.11456",
    run=run,
    seeds=200,
    quick_seeds=40,
    verdict="holds in part",
    stops="Where π₀ covers the features, or merely avoids good actions, online learning without "
    "exploration is no better than offline learning.",
    cpu_s=(13, 4),
)
