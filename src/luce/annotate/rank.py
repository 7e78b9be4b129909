"""Strengths from votes: Bradley-Terry with ties as half wins, and Davidson's model of ties."""

from collections.abc import Sequence

import numpy as np

from luce.annotate.bradley_terry import Fit, davidson_is_finite, fit_bradley_terry, fit_davidson
from luce.annotate.maximum import groups, require_finite_maximum
from luce.annotate.strengths import Rows, Strengths, estimated
from luce.annotate.votes import Vote, VoteTable, vote_table
from luce.errors import LuceError
from luce.intervals import RESAMPLES


def bradley_terry(
    votes: Sequence[Vote],
    *,
    prior_sd: float | int | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Strengths:
    """Strengths π with P(i ≻ j) = π_i / (π_i + π_j), by maximum likelihood (Bradley and Terry,
    1952). A tie counts as half a win for each, a soft label p as p of a win and 1 − p of a loss.

    Args:
        votes: who beat whom; `votes_from_wins` makes them of a table of wins.
        prior_sd: standard deviation, in nats, of a Gaussian prior on each log-strength: pulls
            together, and makes the maximum finite whoever beat whom. None: no prior.
        resamples: draws of the bootstrap over prompts; 0 leaves it out (its intervals are nan).
        seed: of the draws.

    Raises:
        LuceError: without a prior, where the maximum is not finite: the graph of wins is not
            strongly connected (Ford, 1957). The message names the groups.

    >>> from luce.annotate.votes import votes_from_wins
    >>> found = bradley_terry(votes_from_wins([[0, 7, 9], [3, 0, 6], [1, 4, 0]]), resamples=0)
    >>> [(item.name, round(item.strength.value, 4)) for item in found.items]
    [('0', 0.6625), ('1', 0.2197), ('2', 0.1178)]
    """
    table, sd = vote_table(votes), _checked(prior_sd)
    wins = table.wins()
    if sd is None:
        require_finite_maximum(wins, table.names, "Bradley-Terry")

    def fit(drawn: np.ndarray | None, start: Fit | None) -> Fit | None:
        found = wins if drawn is None else table.wins(drawn)
        if sd is None and len(groups(found)) > 1:
            return None
        return fit_bradley_terry(found, sd, start.log_strengths if start else None)

    return estimated(
        "Bradley-Terry, a tie is half a win for each",
        _rows(table, groups(wins)),
        fit,
        prior_sd=sd,
        resamples=resamples,
        seed=seed,
    )


def davidson(
    votes: Sequence[Vote],
    *,
    prior_sd: float | int | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Strengths:
    """Strengths where ties are an outcome of their own, with a parameter ν (Davidson, 1970):

    P(i ≻ j) = π_i / (π_i + π_j + ν √(π_i π_j)); two equals tie with probability ν / (2 + ν).

    Args:
        votes: hard ones: p is 0, 1/2 (a tie) or 1.
        prior_sd, resamples, seed: as in `bradley_terry`; the prior is on log-strengths only.

    Raises:
        LuceError: a soft label; no tie, or nothing but ties; or, without a prior, a maximum that
            is not finite. The message says which.

    >>> from luce.annotate.votes import votes_from_wins
    >>> votes = votes_from_wins([[0, 8], [2, 0]], ["a", "b"]) + [Vote("a", "b", 0.5)] * 4
    >>> found = davidson(votes, resamples=0)
    >>> round(found["a"].strength.value, 6), round(found.tie.value, 6)  # ν = 4 / √(8 · 2)
    (0.8, 1.0)
    """
    table, sd = vote_table(votes), _checked(prior_sd)
    soft = np.flatnonzero(~np.isin(table.p, (0.0, 0.5, 1.0)))
    if len(soft):
        raise LuceError(
            f"votes[{soft[0]}]: p is {table.p[soft[0]]}, and Davidson's model knows win (1), tie "
            "(0.5) and loss (0) only. Round the labels, or rank them with `bradley_terry`."
        )
    tied = table.p == 0.5
    if not tied.any() or tied.all():
        raise LuceError(
            f"Davidson's model wants ties and wins; of {table.n} votes {int(tied.sum())} are ties. "
            "Rank votes without ties with `bradley_terry`; ties alone rank nobody."
        )
    won = np.where(tied, 0.0, table.weight)
    halves = np.where(tied, table.weight, 0.0)

    def counts(drawn: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        wins = table.total(won * table.p, won * (1 - table.p), drawn)
        return wins, table.total(halves, halves, drawn)

    def fit(drawn: np.ndarray | None, start: Fit | None) -> Fit | None:
        wins, ties = counts(drawn)
        if not (wins.any() and ties.any()) or not davidson_is_finite(wins, ties, sd is not None):
            return None
        begin = None
        if start is not None and start.log_tie is not None:
            begin = (start.log_strengths, start.log_tie)
        return fit_davidson(wins, ties, sd, begin)

    wins, ties = counts(None)
    if not davidson_is_finite(wins, ties, sd is not None):
        require_finite_maximum(wins + ties, table.names, "Davidson's model")
        raise LuceError(
            "Davidson's model has no finite maximum: every vote agrees with one order in which "
            "neighbours tie and others do not. Gather more votes, rank with `bradley_terry`, or "
            "give `prior_sd` (2.0, say)."
        )
    return estimated(
        "Davidson, ties of their own",
        _rows(table, groups(wins + ties)),
        fit,
        prior_sd=sd,
        resamples=resamples,
        seed=seed,
    )


def win_groups(votes: Sequence[Vote]) -> list[tuple[str, ...]]:
    """The groups of items within which wins go round, best first: nobody ever beat somebody of a
    group before its own. One group is what a finite Bradley-Terry maximum needs (Ford, 1957).

    >>> win_groups([Vote("a", "b"), Vote("b", "a"), Vote("b", "c")])
    [('a', 'b'), ('c',)]
    """
    table = vote_table(votes)
    return [tuple(table.names[i] for i in group) for group in groups(table.wins())]


def _checked(prior_sd: float | int | None) -> float | None:
    if prior_sd is None:
        return None
    if not 0 < prior_sd < float("inf"):
        raise LuceError(f"prior_sd is {prior_sd}; give a number of nats above 0, or None.")
    return float(prior_sd)


def _rows(table: VoteTable, found: list[np.ndarray]) -> Rows:
    wins = table.wins()
    return Rows(
        kind="votes",
        n=table.n,
        names=table.names,
        points=wins.sum(axis=1),
        taken=(wins + wins.T).sum(axis=1),
        prompts=table.prompts,
        groups=found,
    )
