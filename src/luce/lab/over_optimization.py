"""Over-optimization of a table of rewards: gold and proxy reward against the KL that is spent, for
offline data and for rounds of online data; what Gao's curve makes of it, and what a guard does."""

from collections.abc import Mapping
from dataclasses import astuple, replace
from typing import Any

import torch
from matplotlib.figure import Figure

from luce.diagnostics.overoptimization import Form, GoldCurve, Point, best_of_n_kl, fit_gold_curve
from luce.lab.experiment import Check, Experiment, Result, above, below, near, over_seeds
from luce.lab.figures import legend_below, line_with_band, panels
from luce.lab.guarded import GOLD_ERROR, Watch, column, seen_along, seen_in_rounds, spoke, watch
from luce.lab.tilts import Tilts, tilts
from luce.models.tabular import LinearWorld, long_tail
from luce.online.explore import STRATEGIES, Trajectory, learn
from luce.report.plots import FAINT, INK, RUN_COLORS, library_style

RIDGE = 0.05
"""Precision of the normal prior on each of the 400 rewards."""
PLAN = {
    "offline, 300": ("offline", 1, 300),
    "offline, 1500": ("offline", 1, 1500),
    "offline, 6000": ("offline", 1, 6000),
    "online, 1500": ("two_samples", 5, 300),
}
"""Label → (strategy, rounds, comparisons in each)."""
FEW, ONLINE = "offline, 300", "online, 1500"
KLS = (1.0, 2.0, 3.0, 4.0)
GRID = [0.1 * i for i in range(56)]
FORMS: tuple[Form, Form] = ("best_of_n", "rl")
Fits = Mapping[str, Mapping[Form, GoldCurve]]
# mean gain at those KL, as an independent program found it on 20 worlds of this kind; it does not
# give their parameters, and ours were chosen to come near. Beyond KL 2 few of our online paths go
# on, so those are not compared
REFERENCE = {
    (FEW, "gold"): (1.22, 1.16, 0.86, 0.48),
    (FEW, "proxy"): (2.02, 2.59, 2.93, 3.14),
    (ONLINE, "gold"): (1.57, 1.73),
}


def run(seeds: int, quick: bool) -> Result:
    """300 and 1500 comparisons offline, 6000 too unless `quick`; 5 rounds of 300 online."""
    world = long_tail(seeds)
    plan = {label: how for label, how in PLAN.items() if not (quick and "6000" in label)}
    runs = {label: _learned(world, *how) for label, how in plan.items()}
    paths = {label: tilts(world, found.theta[-1]) for label, found in runs.items()}
    fits: Fits = {
        label: {form: _fit(path, form) for form in FORMS} for label, path in paths.items()
    }
    watches = {
        label: [watch(seen_along(path, w)) for w in range(seeds)] for label, path in paths.items()
    }
    rounds = [watch(seen_in_rounds(world, runs[ONLINE], w)) for w in range(seeds)]
    with library_style():
        figures = {"gold_and_proxy": _curves(paths, fits), "guard": _guard(paths, watches)}
    checks = (*_path_checks(paths), *_guard_checks(watches[FEW], rounds))
    guards = {**watches, f"{ONLINE}, its rounds": rounds}
    tables = {
        "gain": _gains(paths),
        "peak": _peaks(paths),
        "curve": _fitted(fits),
        "guard": _guards(guards),
    }
    return Result(checks, figures, tables, _verdict(paths, watches[FEW], rounds))


def _learned(world: LinearWorld, name: str, rounds: int, comparisons: int) -> Trajectory:
    """One world at a time: the differences of one-hot features of all would fill the memory."""
    found = []
    for w in range(len(world.theta)):
        alone = replace(
            world,
            features=world.features[w : w + 1],
            theta=world.theta[w : w + 1],
            reference=world.reference[w : w + 1],
        )
        found.append(learn(alone, STRATEGIES[name], 1000 + w, rounds, comparisons, RIDGE))
    of_worlds = zip(*(astuple(one)[1:] for one in found), strict=True)
    return Trajectory(found[0].comparisons, *(torch.cat(values, 1) for values in of_worlds))


def _fit(path: Tilts, form: Form) -> GoldCurve:
    """Gao's curve to the exact gold of every world, up to KL 5.5."""
    gold, proxy = path.within(GRID)
    worlds = range(gold.shape[1])
    points = [
        Point(kl, proxy[i, w].item(), gold[i, w].item())
        for w in worlds
        for i, kl in enumerate(GRID)
    ]
    return fit_gold_curve(points, form, [w for w in worlds for _ in GRID], resamples=500)


def _path_checks(paths: Mapping[str, Tilts]) -> list[Check]:
    few = paths[FEW]
    rises = torch.cat([(path.proxy.diff(dim=0) > -1e-9).all(0).double() for path in paths.values()])
    found = [
        near("paths along which the proxy only rises", over_seeds(rises), 1.0, 0.0),
        near(f"{FEW}: KL at the peak of gold", over_seeds(few.peak()[0]), 2.0, 0.5),
        near(f"{FEW}: gold at its peak", over_seeds(few.peak()[1]), 1.43, 0.3),
        near(f"{FEW}: gold lost at the end", over_seeds(few.lost()), 1.37, 0.37),
        *(
            above(f"{label}: gold lost at the end", over_seeds(path.lost()), 0.3)
            for label, path in paths.items()
            if label not in (FEW, ONLINE)
        ),
        Check(
            f"{ONLINE}: gold lost at the end",
            over_seeds(paths[ONLINE].lost()),
            "< 0.3",
            high=0.3,
        ),
    ]
    for (label, kind), expected in REFERENCE.items():
        gold, proxy = paths[label].at(list(KLS))
        for kl, value, row in zip(KLS, expected, gold if kind == "gold" else proxy, strict=False):
            reached = row[row.isfinite()]
            found.append(near(f"{label}: {kind} at KL {kl:g}", over_seeds(reached), value, 0.4))
    return found


def _guard_checks(offline: list[Watch], rounds: list[Watch]) -> list[Check]:
    falls = [w for w in offline if w.fall > 0.5]
    stop, kept = (
        over_seeds(column(falls, lambda w: w.lost_at_stop)),
        over_seeds(column(falls, lambda w: w.lost_at_kept)),
    )
    return [
        near("guard, paths that fall by > 0.5: alarms", over_seeds(column(falls, spoke)), 1.0, 0.0),
        below("guard: gold lost where it stops", stop, 0.3),
        below("guard: gold lost at the point kept", kept, 0.15),
        near(
            "guard, rounds of the online run: alarms", over_seeds(column(rounds, spoke)), 0.0, 0.0
        ),
    ]


def _gains(paths: Mapping[str, Tilts]) -> list[dict[str, Any]]:
    rows = []
    for label, path in paths.items():
        gold, proxy = path.at(list(KLS))
        for i, kl in enumerate(KLS):
            reached = gold[i].isfinite()
            means = [over_seeds(values[i][reached]) for values in (gold, proxy)]
            known = {
                f"reference_{kind}": REFERENCE[label, kind][i]
                for kind in ("gold", "proxy")
                if (label, kind) in REFERENCE and i < len(REFERENCE[label, kind])
            }
            rows.append({"data": label, "kl": kl, "worlds": int(reached.sum())})
            rows[-1] |= means[0].flat("gold") | means[1].flat("proxy") | known
    return rows


def _peaks(paths: Mapping[str, Tilts]) -> list[dict[str, Any]]:
    return [
        {
            "data": label,
            **over_seeds(path.peak()[0]).flat("peak_kl"),
            **over_seeds(path.peak()[1]).flat("peak_gold"),
            **over_seeds(path.gold[-1]).flat("end_gold"),
            **over_seeds(path.proxy[-1]).flat("end_proxy"),
        }
        for label, path in paths.items()
    ]


def _fitted(fits: Fits) -> list[dict[str, Any]]:
    return [
        {
            "data": label,
            "form": form,
            **found.alpha.flat("alpha"),
            **found.beta.flat("beta"),
            **found.peak_kl.flat("peak_kl"),
            **found.peak_gold.flat("peak_gold"),
            "residual": found.residual,
        }
        for label, forms in fits.items()
        for form, found in forms.items()
    ]


def _guards(watches: Mapping[str, list[Watch]]) -> list[dict[str, Any]]:
    return [
        {
            "data": label,
            "gold_error": GOLD_ERROR,
            **over_seeds(column(found, spoke)).flat("alarm"),
            **over_seeds(column(found, lambda w: w.lost_at_stop)).flat("lost_at_stop"),
            **over_seeds(column(found, lambda w: w.lost_at_kept)).flat("lost_at_kept"),
            **over_seeds(column(found, lambda w: w.fall)).flat("fall"),
        }
        for label, found in watches.items()
    ]


def _verdict(paths: Mapping[str, Tilts], offline: list[Watch], rounds: list[Watch]) -> str:
    few, online = paths[FEW], paths[ONLINE]
    alarms = sum(w.alarm is not None for w in rounds)
    below_peak = column(offline, lambda w: w.lost_at_stop).mean()
    more = ", ".join(
        f"{path.lost().mean():.2f} with {label.split()[1]}"
        for label, path in paths.items()
        if label not in (FEW, ONLINE)
    )
    return (
        f"Holds. The proxy rises all the way; gold peaks at KL {few.peak()[0].mean():.1f} and "
        f"loses {few.lost().mean():.2f} by the end. More comparisons from π₀ do not mend it "
        f"({more}): actions that π₀ hardly takes stay unseen. Rounds online do, mostly: "
        f"{online.lost().mean():.2f} lost. The guard stops {below_peak:.2f} below the peak on "
        f"average, and raises {alarms} alarms in {len(rounds)} online runs."
    )


def _curves(paths: Mapping[str, Tilts], fits: Fits) -> Figure:
    figure, all_axes = panels([f"{label} comparisons" for label in paths])
    for axes, (label, path) in zip(all_axes, paths.items(), strict=True):
        for number, (values, name) in enumerate(
            zip(path.within(GRID), ("gold", "proxy"), strict=True)
        ):
            line_with_band(axes, GRID, values, f"{name} reward", number, marks=False)
        curve = fits[label]["best_of_n"]
        name = r"gold, fitted: $d\,(\alpha - \beta d)$, $d = \sqrt{KL}$"
        axes.plot(
            GRID, [curve.value(kl) for kl in GRID], color=INK, linewidth=1.2, linestyle=(0, (4, 2)),
            label=name,
        )  # fmt: skip
        for n in (4, 16, 64):
            axes.axvline(best_of_n_kl(n), color=FAINT, linewidth=0.8, linestyle=(0, (1, 2)))
            top = ("data", "axes fraction")
            axes.annotate(f"best of {n}", (best_of_n_kl(n), 0.02), xycoords=top, rotation=90,
                          fontsize=7.5, ha="right", va="bottom")  # fmt: skip
        axes.set_xlim(0, 5.5)
        axes.set_ylim(-0.8, 4.0)
        axes.set_xlabel(r"KL($\pi$ ‖ $\pi_0$) at most, nats")
    all_axes[0].set_ylabel(r"reward gained over $\pi_0$")
    legend_below(figure, all_axes[0])
    return figure


def _guard(paths: Mapping[str, Tilts], watches: Mapping[str, list[Watch]]) -> Figure:
    """The first three worlds of few offline comparisons that fall, and what the guard said."""
    falling = [w for w, found in enumerate(watches[FEW]) if found.alarm is not None][:3]
    figure, all_axes = panels([f"world {w}, {FEW} comparisons" for w in falling])
    for axes, w in zip(all_axes, falling, strict=True):
        seen, found = seen_along(paths[FEW], w), watches[FEW][w]
        kls = [point.kl for point in seen.points]
        axes.plot(kls, seen.gold, color=RUN_COLORS[0], linewidth=1.4, label="gold, exact")
        axes.errorbar(
            kls,
            [point.gold for point in seen.points],
            1.96 * GOLD_ERROR,
            color=INK,
            fmt=".",
            markersize=4,
            linewidth=0.8,
            label="gold, as the guard sees it",
        )
        if found.alarm is not None:
            axes.axvline(kls[found.at], color=RUN_COLORS[1], linewidth=1.2, label="it speaks")
            keep = found.alarm.keep
            axes.plot(kls[keep], seen.gold[keep], "o", color=RUN_COLORS[2], markersize=8,
                      fillstyle="none", label="it keeps")  # fmt: skip
        axes.set_xlabel(r"KL($\pi$ ‖ $\pi_0$), nats")
    if all_axes:
        all_axes[0].set_ylabel(r"gold reward gained over $\pi_0$")
        legend_below(figure, all_axes[0], columns=4)
    return figure


EXPERIMENT = Experiment(
    name="over-optimization",
    claim="A high proxy reward does not necessarily lead to a better performance: policies leave "
    "the data that the reward was fitted to, and online data mitigate the shift.",
    source="Xiong, Iterative Preference Learning; Gao et al., arXiv:2210.10760",
    run=run,
    seeds=60,
    quick_seeds=20,
    verdict="holds",
    stops="Twenty times the offline data do not remove the fall; five rounds online nearly do.",
    cpu_s=(53, 10),
)
