"""The numbers by which runs are compared, each with its interval where the run recorded one."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from luce.report import summary
from luce.report.numbers import is_number, number, number_range, percent, percent_range
from luce.report.run import Run, dig
from luce.report.summary import Interval


@dataclass(frozen=True)
class Metric:
    """A result of a run.

    Attributes:
        name: a word, the key in JSON.
        title: what it is.
        unit: of the number, for people; "" of shares.
        share: whether it is a share in [0, 1], told in per cent.
        of: the run's number; None where it has none.
        signed: whether it is a change, whose sign is the point.
    """

    name: str
    title: str
    unit: str
    of: Callable[[Run], Interval | None]
    share: bool = False
    signed: bool = False

    def told(self, value: float) -> str:
        """A number of this metric, with its unit left out.

        >>> METRICS[0].told(0.715)
        '71.5\\xa0%'
        """
        sign = "+" if self.signed and value > 0 else ""
        return percent(value) if self.share else f"{sign}{number(value)}"

    def told_range(self, low: float, high: float) -> str:
        """Its interval; "" where that is not known."""
        if not (is_number(low) and is_number(high)):
            return ""
        return percent_range(low, high) if self.share else number_range(low, high)


def _recorded(run: Run, path: str, low: str = "low", high: str = "high") -> Interval | None:
    """The estimate at a dotted path of evaluation.json."""
    found = dig(run.evaluation, path)
    if found is None or not is_number(found.get("value")):
        return None
    ends = [float(found[k]) if is_number(found.get(k)) else math.nan for k in (low, high)]
    n = found.get("n")
    return Interval(float(found["value"]), ends[0], ends[1], int(n) if is_number(n) else None)


def _win_rate(run: Run) -> Interval | None:
    return summary.win_rate_of(run) or _recorded(run, "annotator.initial.win_rate")


def _equal_length(run: Run) -> Interval | None:
    path = "annotator.initial.length_controlled"
    return summary.equal_length_of(run) or _recorded(run, path, "value_low", "value_high")


def _gold(run: Run) -> Interval | None:
    total = [after for name, _, after in summary.grades_of(run) if name == "total"]
    return total[0] if total else _recorded(run, "gold.reward")


def _nll(run: Run) -> Interval | None:
    change = summary.held_out_change(run, "nll")
    return None if change is None else Interval(change.after, math.nan, math.nan, change.n)


def _moved(run: Run, metric: str) -> Interval | None:
    """By how much a held-out log-probability changed between first and last evaluation."""
    if run.get("objective.structure") in ("unpaired", "demonstration"):
        return None
    change = summary.held_out_change(run, metric)
    if change is None:
        return None
    return Interval(change.after - change.before, math.nan, math.nan, change.n)


def _length(run: Run) -> Interval | None:
    lengths = summary.length_of(run)
    return lengths[1] if lengths else _recorded(run, "length")


def _ended(run: Run) -> Interval | None:
    shares = summary.ended_of(run)
    return shares[1] if shares else _recorded(run, "ended")


def _kl(run: Run) -> Interval | None:
    return summary.kl_of(run) or _recorded(run, "kl.initial")


def _calibration(run: Run) -> Interval | None:
    found = dig(run.evaluation, "calibration")
    if not isinstance(found, dict) or not is_number(found.get("ece")):
        return None
    ends = [
        float(found[k]) if is_number(found.get(k)) else math.nan for k in ("ece_low", "ece_high")
    ]
    return Interval(float(found["ece"]), ends[0], ends[1], found.get("n"))


METRICS = (
    Metric("win_rate", "win rate over the initial policy", "", _win_rate, share=True),
    Metric("equal_length", "win rate at equal length", "", _equal_length, share=True),
    Metric("gold", "gold reward", "reward", _gold),
    Metric("accuracy", "held-out accuracy", "", summary.accuracy_of, share=True),
    Metric("nll", "held-out NLL", "nats per token", _nll),
    Metric("kl", "KL from the initial policy", "nats per response", _kl),
    Metric("length", "response length", "tokens", _length),
    Metric("ended", "responses that end", "", _ended, share=True),
    Metric(
        "chosen",
        "Δ log-prob of chosen",
        "nats per response",
        lambda run: _moved(run, "logps/chosen"),
        signed=True,
    ),
    Metric(
        "rejected",
        "Δ log-prob of rejected",
        "nats per response",
        lambda run: _moved(run, "logps/rejected"),
        signed=True,
    ),
    Metric(
        "chosen_per_token",
        "Δ log-prob of chosen, per token",
        "nats per token",
        lambda run: _moved(run, "logps_per_token/chosen"),
        signed=True,
    ),
    Metric("calibration", "calibration error", "", _calibration),
)
"""All of them, in reading order."""
