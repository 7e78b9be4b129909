"""AlpacaEval 2 from annotations: raw and length-controlled win rates of models, as its leaderboard
prints them, in percent, and with standard errors that hold."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from luce.errors import LuceError, did_you_mean
from luce.evaluate.alpaca_files import Annotation, difficulties_of
from luce.evaluate.length_control import REFITS, LengthControl, Rows, half, length_control
from luce.intervals import Estimate, mean_interval


@dataclass(frozen=True)
class AlpacaEvalModel:
    """One model's line; rates and standard errors in percent.

    Attributes:
        model: its name.
        win_rate: the mean preference, 95 % interval by formula; n counts verdicts.
        standard_error: of this mean, sd / √n (ddof = 1).
        wins, losses, draws: preferences above, below and at ½.
        missing: annotations without a verdict, which count in none of these.
        partial: annotations with a verdict in some of the orders shown only.
        lowest, highest: the win rate if all missing verdicts had been losses, or wins.
        discrete_win_rate: (wins + draws / 2) / n.
        length_controlled: the length-controlled win rate and how it was fitted, in [0, 1].
        mean_length, baseline_mean_length: of the outputs, characters.
    """

    model: str
    win_rate: Estimate
    standard_error: float
    wins: int
    losses: int
    draws: int
    missing: int
    partial: int
    lowest: float
    highest: float
    discrete_win_rate: float
    length_controlled: LengthControl
    mean_length: float
    baseline_mean_length: float

    def plain(self) -> dict[str, Any]:
        """Values for JSON under the leaderboard's names; None for what is not finite."""
        lc = self.length_controlled
        found: dict[str, Any] = {
            "model": self.model,
            **self.win_rate.flat("win_rate"),
            "standard_error": self.standard_error,
            "n_wins": self.wins,
            "n_wins_base": self.losses,
            "n_draws": self.draws,
            "n_total": self.win_rate.n,
            "n_missing": self.missing,
            "n_partial": self.partial,
            "win_rate_if_missing_lost": self.lowest,
            "win_rate_if_missing_won": self.highest,
            "discrete_win_rate": self.discrete_win_rate,
            "length_controlled_winrate": 100 * lc.win_rate.value,
            "lc_low": 100 * lc.win_rate.low,
            "lc_high": 100 * lc.win_rate.high,
            "lc_standard_error": 100 * lc.standard_error,
            "lc_standard_error_published": 100 * lc.published_standard_error,
            "lc_refits": lc.refits,
            "w_len": lc.length,
            "w_difficulty": lc.difficulty,
            "w_intercept": lc.intercept,
            "penalty": lc.penalty,
            "penalty_cross_validated": lc.cross_validated,
            "avg_length": self.mean_length,
            "avg_length_baseline": self.baseline_mean_length,
        }
        return {k: None if _not_finite(v) else v for k, v in found.items()}


@dataclass(frozen=True)
class AlpacaEval:
    """The models, the highest length-controlled win rate first.

    Attributes:
        models: one line each.
        gamed: whether rows of the gamed variants were in the fit, as published.
        notes: what to know before comparing with the leaderboard.
    """

    models: tuple[AlpacaEvalModel, ...]
    gamed: bool
    notes: tuple[str, ...]

    def __getitem__(self, model: str) -> AlpacaEvalModel:
        """The line of that model; a LuceError names the nearest where there is none."""
        for line in self.models:
            if line.model == model:
                return line
        known = [line.model for line in self.models]
        raise LuceError(f"No annotations of {model!r}. {did_you_mean(model, known)}")

    def plain(self) -> dict[str, Any]:
        """Values for JSON."""
        return {
            "models": [line.plain() for line in self.models],
            "gamed": self.gamed,
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """A table for a terminal, and what to know about it."""
        width = max(len("model"), *(len(line.model) for line in self.models))
        said = [
            f"{'model':<{width}}  LC win rate           95 %    SE (published)  win rate     SE"
            "   wins  losses  draws    n  length"
        ]
        for line in self.models:
            lc, raw = line.length_controlled, line.win_rate
            between = f"{100 * lc.win_rate.low:.2f} to {100 * lc.win_rate.high:.2f}"
            said.append(
                f"{line.model:<{width}}  {100 * lc.win_rate.value:10.2f}  {between:>14}  "
                f"{100 * lc.standard_error:4.2f}      ({100 * lc.published_standard_error:4.2f})  "
                f"{raw.value:10.2f}  {line.standard_error:5.2f}  {line.wins:5,}  {line.losses:6,}  "
                f"{line.draws:5,}  {raw.n:3,}  {line.mean_length:6.0f}"
            )
        for line in self.models:
            if line.missing or line.partial:
                some = f", {line.partial:,} with one in one order only" if line.partial else ""
                said.append(
                    f"{line.model}: {line.missing:,} without a verdict{some}; the win rate would "
                    f"be {line.lowest:.2f} had all been lost, {line.highest:.2f} had all been won."
                )
        refits = max(line.length_controlled.refits for line in self.models)
        said.append(
            f"Rates in percent. SE of LC: {refits:,} draws of instructions, fitted anew at the "
            "same penalty. The published one takes the fitted weights for known."
        )
        return [*said, *self.notes]


def alpaca_eval(
    annotations: Sequence[Annotation],
    difficulty: Mapping[int, float],
    gamed: Rows | None = None,
    penalty: float | int | Mapping[str, float] | None = None,
    *,
    seed: int = 0,
    refits: int = REFITS,
) -> AlpacaEval:
    """Raw and length-controlled win rates of every model that was annotated.

    A model whose name is the baseline's, or all of whose rows are draws of equal length, is the
    baseline against itself: its length-controlled win rate is 50 by construction.

    Args:
        annotations: as `read_annotations` reads them.
        difficulty: instruction → γ, of all instructions of the benchmark.
        gamed: rows of the gamed variants (`read_gamed`); None leaves them out.
        penalty: C, the weight of the likelihood against the L1 norm: one for all, or model → C;
            for the other models, and with None, it is chosen by cross-validation.
        seed, refits: of the bootstrap of the length-controlled win rate.

    Raises:
        LuceError: there are no annotations, a model has no verdict, or a penalty is given for a
            model without annotations.
        DataError: an instruction has no difficulty.
    """
    models: dict[str, list[Annotation]] = {}
    for row in annotations:
        models.setdefault(row.model, []).append(row)
    if not models:
        raise LuceError("There are no annotations. Give at least one model's.")
    given = penalty if isinstance(penalty, Mapping) else {}
    for name in given:
        if name not in models:
            raise LuceError(f"A penalty for {name!r}: no annotations. {did_you_mean(name, models)}")
    one = None if isinstance(penalty, Mapping) else penalty
    lines = []
    for name, rows in models.items():
        hard = difficulties_of(rows, difficulty)
        lines.append(_line(name, rows, hard, gamed, given.get(name, one), seed, refits))
    lines.sort(key=lambda line: -line.length_controlled.win_rate.value)
    return AlpacaEval(tuple(lines), gamed is not None, _notes(models, difficulty, gamed))


def _line(
    name: str,
    rows: Sequence[Annotation],
    difficulties: Sequence[float],
    gamed: Rows | None,
    penalty: float | int | None,
    seed: int,
    refits: int,
) -> AlpacaEvalModel:
    known = [row.preference for row in rows if row.preference is not None]
    if not known:
        raise LuceError(
            f"{name}: none of {len(rows)} annotations has a preference. Ask the judge again."
        )
    if _is_baseline(name, rows):
        controlled = half(len(rows))
    else:
        controlled = length_control(
            [row.baseline_length for row in rows],
            [row.length for row in rows],
            difficulties,
            [math.nan if row.preference is None else row.preference for row in rows],
            gamed,
            penalty,
            seed=seed,
            refits=refits,
        )
    n, missing = len(known), len(rows) - len(known)
    lowest, highest = (
        100 * math.fsum(row.filled(end) for row in rows) / len(rows) for end in (0.0, 1.0)
    )
    mean, low, high = mean_interval([100 * p for p in known])
    wins, losses = sum(p > 0.5 for p in known), sum(p < 0.5 for p in known)
    draws = n - wins - losses
    return AlpacaEvalModel(
        model=name,
        win_rate=Estimate(mean, max(0.0, low), min(100.0, high), n),
        standard_error=float(100 * np.std(known, ddof=1) / math.sqrt(n)) if n > 1 else math.nan,
        wins=wins,
        losses=losses,
        draws=draws,
        missing=missing,
        partial=sum(row.missing > 0 and row.preference is not None for row in rows),
        lowest=lowest,
        highest=highest,
        discrete_win_rate=100 * (2 * wins + draws) / (2 * n),
        length_controlled=controlled,
        mean_length=float(np.mean([row.length for row in rows])),
        baseline_mean_length=float(np.mean([row.baseline_length for row in rows])),
    )


def _is_baseline(name: str, rows: Sequence[Annotation]) -> bool:
    if all(row.baseline is not None for row in rows):
        return all(row.baseline == name for row in rows)
    return all(row.preference == 0.5 and row.length == row.baseline_length for row in rows)


def _notes(
    models: Mapping[str, Sequence[Annotation]], difficulty: Mapping[int, float], gamed: Rows | None
) -> tuple[str, ...]:
    said = []
    if gamed is None:
        said.append(
            "Without the rows of the gamed variants, which the published regression adds, the "
            "length-controlled win rates are not those of the leaderboard."
        )
    partial = [name for name, rows in models.items() if len(rows) < len(difficulty)]
    if partial:
        more = f" and {len(partial) - 5} more" if len(partial) > 5 else ""
        said.append(
            f"Fewer than the {len(difficulty):,} instructions: {', '.join(partial[:5])}{more}."
        )
    return tuple(said)


def _not_finite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
