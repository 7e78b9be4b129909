"""Whether the gold reward of an online run still rises with the reward that is learned from, and
which round's policy the run ends with where it does not."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from luce.diagnostics.overoptimization import Decision, Guard, Point
from luce.intervals import Estimate


def judged(start: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> Decision | None:
    """What the guard says after the last of these rounds; None where no gold annotator judged, or
    KL was not estimated. Point k is round k, point 0 the policy that the run began with.

    Args:
        start: `initial.json`; lines: of rounds.jsonl.
    """
    guard, decision = Guard(), None
    if point(start, None) is not None:
        guard.step(Point(0.0, 0.0, 0.0))
    for line in lines:
        found = point(start, line)
        decision = None if found is None else guard.step(found)
    return decision


def point(start: Mapping[str, Any], line: Mapping[str, Any] | None) -> Point | None:
    """A round as the guard sees it; of `line` None the policy before the first."""
    if line is None:
        return Point(0.0, 0.0, 0.0) if "gold" in start else None
    evaluation, kl = line.get("evaluation") or {}, (line.get("kl") or {}).get("initial")
    if "gold" not in evaluation or kl is None:
        return None
    gold, gold_error = gained(start, evaluation, "gold")
    proxy, proxy_error = gained(start, evaluation, "annotator")
    # of a single prompt there is no error to speak of, and nothing to judge by
    if not math.isfinite(gold + proxy + gold_error + proxy_error):
        return None
    return Point(max(0.0, kl["value"]), proxy, gold, gold_error, proxy_error)


def gained(
    start: Mapping[str, Any], evaluation: Mapping[str, Any], role: str
) -> tuple[float, float]:
    """Mean reward less that of the first policy, with its standard error; of an annotator that only
    compares, the win rate over the first policy less ½."""
    now, then = evaluation[role].get("reward"), start.get(role, {}).get("reward")
    if now is not None and then is not None:
        ours, theirs = _estimate(now), _estimate(then)
        # the same prompts are behind both, so that this is more than the error of the difference
        error = math.hypot(ours.standard_error, theirs.standard_error)
        return ours.value - theirs.value, error
    if "initial" not in evaluation[role]:  # not one reward was a number
        return math.nan, math.nan
    rate = _estimate(evaluation[role]["initial"]["win_rate"])
    return rate.value - 0.5, rate.standard_error


def _estimate(entry: Mapping[str, Any]) -> Estimate:
    value, low, high = (
        math.nan if entry[key] is None else float(entry[key]) for key in ("value", "low", "high")
    )
    return Estimate(value, low, high, int(entry["n"]))
