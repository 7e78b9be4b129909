"""Preferences that go round: what a reward makes of them, and what the game does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from luce.annotate.votes import Vote
from luce.diagnostics.intransitivity import intransitivity
from luce.intervals import Estimate
from luce.lab.experiment import Check, Experiment, Result, at_most, exactly, near, over_seeds
from luce.lab.figures import legend_below, panels
from luce.models.tabular import (
    TabularPolicy,
    actions,
    best_scores,
    exploitability,
    fit_pairs,
    score_optimum,
    scores_annotator,
    worst_case_win_rate,
)
from luce.objectives import LOSSES, OBJECTIVES
from luce.objectives.scores import log_ratio
from luce.online.nash import CONDORCET, ROCK_PAPER_SCISSORS, Game
from luce.online.nash.figure import CORNERS, place
from luce.report.plots import FAINT, INK, RUN_COLORS, RUN_MARKS, library_style

ETAS = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
"""Prices of a nat of KL, in win rates."""
METHODS = ("Bradley–Terry (DPO)", "IPO", "equilibrium")
VOTES = 30_000
"""Duels of a run, from uniform pairs."""
PROMPTS = 300
"""On which all three pairs are voted on, for the share of triads that go round."""
POLICIES = {
    ("equilibrium", 1.0): (0.3552, 0.3192, 0.3256),
    ("equilibrium", 0.2): (0.4000, 0.2553, 0.3447),
    ("equilibrium", 0.05): (0.3696, 0.2158, 0.4146),
    ("equilibrium", 0.01): (0.3411, 0.2194, 0.4395),
    ("Bradley–Terry (DPO)", 0.2): (0.7915, 0.1042, 0.1042),
    ("IPO", 0.2): (0.452, 0.274, 0.274),
}
"""Of rock, scissors, paper, as an independent program found them."""
EXPLOITED = {
    ("Bradley–Terry (DPO)", 0.2): 0.104,
    ("IPO", 0.2): 0.0039,
    ("Bradley–Terry (DPO)", 0.05): 0.200,
    ("IPO", 0.05): 0.098,
}
"""Likewise the exploitability, in win rates."""
WORST = {
    ("Bradley–Terry (DPO)", 0.2): 0.373,
    ("equilibrium", 0.2): 0.467,
    ("Bradley–Terry (DPO)", 0.05): 0.300,
    ("equilibrium", 0.05): 0.491,
}
"""Likewise the win rate against the response that beats the policy most often."""
GENTLE = ((0.5, 0.9, 0.2), (0.1, 0.5, 0.8), (0.8, 0.2, 0.5))
"""A cycle whose Bradley–Terry fit says nearly nothing: 0.433 to 0.567."""
Wins = Float[Tensor, "n n"]


@dataclass(frozen=True)
class Seen:
    """What duels of one seed lead to.

    Attributes:
        policies: (method, η) → what it makes of their shares.
        cycles: annotator → share of triads within prompts that go round, and whether the
            diagnostic finds a reward adequate.
    """

    policies: dict[tuple[str, float], TabularPolicy] = field(repr=False)
    cycles: dict[str, tuple[float, str]]


def matrix(rows: Sequence[Sequence[float]]) -> Wins:
    """P, row by row."""
    return torch.tensor([list(row) for row in rows], dtype=torch.float64)


def annotators() -> dict[str, Wins]:
    """Who votes: one who goes round, the Bradley–Terry annotator nearest to them, and one with an
    order that is not that of the number of wins."""
    going_round = matrix(ROCK_PAPER_SCISSORS)
    return {
        "goes round": going_round,
        "its Bradley–Terry fit": scores_annotator(best_scores(going_round, LOSSES["logistic"])),
        "majority, not most wins": matrix(CONDORCET),
    }


def run(seeds: int, quick: bool) -> Result:
    """`seeds` sets of duels; `quick` changes nothing else."""
    return result([see(seed) for seed in range(seeds)])


def see(seed: int) -> Seen:
    """Draw duels, learn from them, and ask the diagnostic."""
    shares = voted(matrix(ROCK_PAPER_SCISSORS), VOTES, seed)
    policies = {
        (method, eta): policy
        for eta in (0.2, 0.05)
        for method, policy in learnt(shares, eta).items()
    }
    cycles = {name: cyclic_share(wins, seed) for name, wins in annotators().items()}
    return Seen(policies, cycles)


def voted(wins: Wins, votes: int, seed: int) -> Wins:
    """The share of hard votes that i had against j, pairs drawn alike."""
    generator = torch.Generator().manual_seed(seed)
    n = len(wins)
    i, j = torch.triu_indices(n, n, 1)
    pair = torch.randint(len(i), (votes,), generator=generator)
    won = torch.rand(votes, generator=generator, dtype=torch.float64) < wins[i[pair], j[pair]]
    asked = torch.bincount(pair, minlength=len(i)).double()
    share = torch.bincount(pair[won], minlength=len(i)) / asked
    found = torch.full_like(wins, 0.5)
    found[i, j], found[j, i] = share, 1 - share
    return found


def learnt(wins: Wins, eta: float) -> dict[str, TabularPolicy]:
    """Policies trained on these shares with luce's own objectives, and the equilibrium of them."""
    space = actions(len(wins))
    start = space.uniform()

    def trained(name: str, **parameters: float) -> TabularPolicy:
        return fit_pairs(OBJECTIVES[name](**parameters), wins, space, start)

    return dict(
        zip(
            METHODS,
            (
                trained("dpo", beta=eta),
                trained("ipo", tau=eta),
                Game(wins, start, eta).equilibrium,
            ),
            strict=True,
        )
    )


def exact(wins: Wins, eta: float) -> dict[str, TabularPolicy]:
    """The same of the annotator himself, by closed form or the exact optimum."""
    space = actions(len(wins))
    start = space.uniform()
    reward = score_optimum(wins, log_ratio(eta), LOSSES["logistic"], space, start)
    square = space.normalize(wins.mean(1) / eta)
    equilibrium = Game(wins, start, eta).equilibrium
    return dict(zip(METHODS, (reward, square, equilibrium), strict=True))


def round_share(wins: Wins) -> float:
    """P(three votes, one a pair, go round): 1 ≻ 2 ≻ 3 ≻ 1 or the other way."""
    there = wins[0, 1] * wins[1, 2] * wins[2, 0]
    return (there + wins[1, 0] * wins[2, 1] * wins[0, 2]).item()


def cyclic_share(wins: Wins, seed: int) -> tuple[float, str]:
    """Of `PROMPTS` prompts with a vote on each pair, by the diagnostic, and its verdict."""
    generator = torch.Generator().manual_seed(77 + seed)
    drawn = torch.rand(PROMPTS, 3, 3, generator=generator, dtype=torch.float64) < wins
    votes = [
        Vote(str(i), str(j), float(drawn[x, i, j]), prompt=str(x))
        for x in range(PROMPTS)
        for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    found = intransitivity(votes, seed=seed, resamples=50, simulations=100)
    assert found.within_prompts is not None
    return found.within_prompts.share.value, found.verdict


def result(seen: Sequence[Seen]) -> Result:
    """Checks, figures and verdict."""
    wins = matrix(ROCK_PAPER_SCISSORS)
    paths = {eta: exact(wins, eta) for eta in ETAS}
    with library_style():
        figures = {"eta": _figure(wins, paths, seen), "cycles": _cycles(seen)}
    table = [
        {
            "eta": eta,
            "method": method,
            **{f"p{k + 1}": p for k, p in enumerate(policy.probability.tolist())},
            "exploitability": _exploited(policy, wins, eta),
            "worst_case": worst_case_win_rate(policy, wins),
        }
        for eta, by_method in paths.items()
        for method, policy in by_method.items()
    ]
    share = _over(seen, lambda one: one.cycles["goes round"][0])
    far = {method: _exploited(paths[0.05][method], wins, 0.05) for method in METHODS}
    near_ = _exploited(paths[1.0][METHODS[0]], wins, 1.0)
    verdict = (
        f"Holds. {share.percent()} of triads go round, more than the quarter that any reward with "
        "independent noise can make, and the Bradley–Terry fit of a cycle takes what wins a "
        f"little more on average for the best: at η = 0.05 its policy can be beaten by "
        f"{far[METHODS[0]]:.2f} above a draw, IPO's by {far[METHODS[1]]:.2f}, the equilibrium by "
        f"0. It matters where η is small: at η = 1 the Bradley–Terry policy loses {near_:.3f}. "
        "Nor does it take a cycle: where one response beats each other just, and another wins by "
        "far once, Bradley–Terry and IPO choose the other, and only the game the first."
    )
    return Result(checks(seen), figures, {"policies": table, "cycles": _table(seen)}, verdict)


def checks(seen: Sequence[Seen]) -> tuple[Check, ...]:
    """What is exact against known numbers, and what was learnt against what is exact."""
    wins = matrix(ROCK_PAPER_SCISSORS)
    return (*_exact(wins), *_learnt(seen, wins), *_rounds(seen), *_condorcet())


def _over(seen: Sequence[Seen], of: Callable[[Seen], float]) -> Estimate:
    return over_seeds(torch.tensor([of(one) for one in seen], dtype=torch.float64))


def _exploited(policy: TabularPolicy, wins: Wins, eta: float) -> float:
    return exploitability(policy, wins, policy.outcomes.uniform(), eta)


def _exact(wins: Wins) -> list[Check]:
    found = []
    for (method, eta), known in POLICIES.items():
        off = exact(wins, eta)[method].probability - torch.tensor(known, dtype=torch.float64)
        what = f"{method}, η = {eta:g}: off a known policy"
        found.append(at_most(what, exactly(off.abs().max().item()), 6e-4))
    for (method, eta), known in EXPLOITED.items():
        number = _exploited(exact(wins, eta)[method], wins, eta)
        found.append(near(f"{method}, η = {eta:g}: exploitability", exactly(number), known, 1e-3))
    for (method, eta), known in WORST.items():
        number = worst_case_win_rate(exact(wins, eta)[method], wins)
        found.append(near(f"{method}, η = {eta:g}: worst case", exactly(number), known, 1.5e-3))
    most = max(_exploited(exact(wins, eta)["equilibrium"], wins, eta) for eta in ETAS)
    found.append(at_most("equilibrium, every η: exploitability", exactly(most), 1e-9))
    gentle = scores_annotator(best_scores(matrix(GENTLE), LOSSES["logistic"]))
    spread = (gentle - 0.5).abs().max().item()
    what = "P of .8 and .9 round: farthest of the Bradley–Terry fit from ½"
    return [*found, near(what, exactly(spread), 0.067, 1e-3)]


def _learnt(seen: Sequence[Seen], wins: Wins) -> list[Check]:
    found = []
    for method, eta in seen[0].policies:
        ideal = exact(wins, eta)[method]
        number = _over(seen, lambda one, k=(method, eta): _exploited(one.policies[k], wins, k[1]))
        what = f"{method}, η = {eta:g}, {VOTES} votes: exploitability"
        found.append(near(what, number, round(_exploited(ideal, wins, eta), 6), 0.02))
    return found


def _rounds(seen: Sequence[Seen]) -> list[Check]:
    found = []
    for name, wins in annotators().items():
        share = _over(seen, lambda one, n=name: one.cycles[n][0])
        found.append(near(f"{name}: share of cyclic triads", share, round_share(wins), 0.035))
        refused = _over(seen, lambda one, n=name: float(one.cycles[n][1] == "not adequate"))
        what = f"{name}: how often a reward is found not adequate"
        least, most = (0.0, 0.3) if "fit" in name else (1.0, 1.0)
        found.append(Check(what, refused, "1" if least else "< 0.3", least, most))
    return found


def _condorcet() -> list[Check]:
    """Who is chosen at η = 0.01: the number of the response that is likeliest."""
    chosen = {m: p.probability for m, p in exact(matrix(CONDORCET), 0.01).items()}
    wanted: dict[str, float] = dict(zip(METHODS, (2.0, 2.0, 1.0), strict=True))
    return [
        near(f"majority, not most wins: {method} takes number",
             exactly(float(p.argmax()) + 1), wanted[method], 0.0)
        for method, p in chosen.items()
    ]  # fmt: skip


def _table(seen: Sequence[Seen]) -> list[dict[str, Any]]:
    return [
        {
            "annotator": name,
            "expected": round_share(wins),
            **_over(seen, lambda one, n=name: one.cycles[n][0]).flat("cyclic"),
            "verdict": seen[0].cycles[name][1],
        }
        for name, wins in annotators().items()
    ]


@cache
def _fine() -> tuple[float, ...]:
    return tuple(0.01 * 1.12**k for k in range(41))


def _figure(
    wins: Wins, paths: dict[float, dict[str, TabularPolicy]], seen: Sequence[Seen]
) -> Figure:
    titles = ["policies, η from 1 down", "win rate against the worst", "exploitability"]
    figure, (left, middle, right) = panels(titles, 3.9)
    _triangle(left)
    curves = {eta: exact(wins, eta) for eta in _fine()}
    for number, method in enumerate(METHODS):
        color, mark = RUN_COLORS[number], RUN_MARKS[number]
        way = place(torch.stack([curves[eta][method].probability for eta in _fine()]))
        left.plot(way[:, 0].tolist(), way[:, 1].tolist(), color=color, linewidth=1.5)
        dots = place(torch.stack([paths[eta][method].probability for eta in ETAS]))
        left.plot(dots[:, 0].tolist(), dots[:, 1].tolist(), mark, color=color, markersize=4.5)
        worst = [worst_case_win_rate(p[method], wins) for p in curves.values()]
        middle.plot(_fine(), worst, color=color, label=method, linewidth=1.5)
        lost = [_exploited(p[method], wins, eta) for eta, p in curves.items()]
        right.plot(_fine(), lost, color=color, linewidth=1.5)
        for eta in (0.2, 0.05):
            one = [s.policies[method, eta] for s in seen]
            middle.plot([eta] * len(one), [worst_case_win_rate(p, wins) for p in one], mark,
                        color=color, markersize=4, alpha=0.5)  # fmt: skip
            right.plot([eta] * len(one), [_exploited(p, wins, eta) for p in one], mark,
                       color=color, markersize=4, alpha=0.5)  # fmt: skip
    middle.axhline(0.5, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
    for axes in (middle, right):
        axes.set_xscale("log")
        axes.set_xticks([0.01, 0.1, 1], ["0.01", "0.1", "1"])
        axes.minorticks_off()
        axes.set_xlabel("η, price of a nat")
    middle.set_ylabel("win rate")
    right.set_ylabel("win rate above a draw")
    legend_below(figure, middle)
    return figure


def _triangle(axes: Axes) -> None:
    edge = CORNERS[[0, 1, 2, 0]]
    axes.plot(edge[:, 0].tolist(), edge[:, 1].tolist(), color=FAINT, linewidth=0.9)
    for corner, name, where in zip(
        CORNERS.tolist(), ("rock", "scissors", "paper"), ("top", "top", "bottom"), strict=True
    ):
        axes.annotate(name, corner, (0, -7 if where == "top" else 5), textcoords="offset points",
                      ha="center", va=where, fontsize=9, color=INK)  # fmt: skip
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_xlim(-0.12, 1.12)
    axes.set_ylim(-0.16, 1.02)


def _cycles(seen: Sequence[Seen]) -> Figure:
    figure, (left, right) = panels(["rock, scissors, paper: P", "triads that go round"], 3.6)
    wins, fit = list(annotators().values())[:2]
    pairs = ((0, 1), (1, 2), (2, 0))
    for k, (values, label) in enumerate(((wins, "annotator"), (fit, "Bradley–Terry fit"))):
        left.bar([x + 0.36 * k for x in range(3)], [values[i, j].item() for i, j in pairs], 0.34,
                 color=RUN_COLORS[k], alpha=0.8, label=label)  # fmt: skip
    left.axhline(0.5, color=INK, linewidth=0.9, linestyle=(0, (1, 2)))
    left.set_xticks([x + 0.18 for x in range(3)],
                    ["rock ≻\nscissors", "scissors ≻\npaper", "paper ≻\nrock"])  # fmt: skip
    left.set_ylabel("P(first ≻ second)")
    left.legend(fontsize=8.5, loc="upper right")
    left.set_ylim(0, 1.15)
    for row, (name, matrix_) in enumerate(annotators().items()):
        found = _over(seen, lambda one, n=name: one.cycles[n][0])
        right.errorbar([found.value], [row], xerr=[[found.value - found.low],
                       [found.high - found.value]], fmt=RUN_MARKS[row], color=RUN_COLORS[row],
                       capsize=3, label="votes" if row == 0 else None)  # fmt: skip
        right.plot([round_share(matrix_)], [row + 0.18], "|", color=INK, markersize=12,
                   label="expected" if row == 0 else None)  # fmt: skip
    right.axvline(0.25, color=INK, linewidth=0.9, linestyle=(0, (4, 2)))
    right.annotate("the most a reward can", (0.26, -0.3), fontsize=8.5, color=INK)
    right.set_yticks(range(3), list(annotators()), fontsize=8.5)
    right.set_ylim(2.7, -0.5)
    right.set_xlim(0, 0.6)
    right.set_xlabel("share")
    right.legend(fontsize=8.5, loc="lower right")
    return figure


EXPERIMENT = Experiment(
    name="cyclic",
    claim="Bradley–Terry cannot capture preferences that go round; the KL-regularized minimax game "
    "over a preference model can.",
    source="Xiong, Iterative Preference Learning, beyond Bradley–Terry; Munos et al., "
    "arXiv:2312.00886",
    run=run,
    seeds=10,
    quick_seeds=4,
    verdict="holds",
    stops="It matters where η is small: at η = 1 all three policies are close, and IPO at η = 0.2 "
    "is exploitable by 0.004 only.",
    cpu_s=(5, 2),
)
