"""How long responses are, and how many the policy ends by itself."""

from collections.abc import Hashable, Sequence
from typing import Any

from luce.evaluate.estimate import mean_by_prompt
from luce.intervals import Estimate, wilson_interval


def mean_length(tokens: Sequence[int], prompts: Sequence[Hashable] | None = None) -> Estimate:
    """Mean response length in tokens, with its interval over prompts.

    >>> mean_length([10, 14]).value
    12.0
    """
    return mean_by_prompt(tokens, prompts)


def ended_share(ended: Sequence[bool]) -> Estimate:
    """The share of responses that end with the end-of-turn token, with Wilson's interval.

    >>> ended_share([True, True, False, True]).value
    0.75
    """
    n, stopped = len(ended), sum(ended)
    low, high = wilson_interval(stopped, n)
    return Estimate(stopped / n if n else float("nan"), low, high, n)


def length_record(
    before: Sequence[int],
    after: Sequence[int],
    *,
    prompts: Sequence[Hashable] | None = None,
    before_ended: Sequence[bool] | None = None,
    after_ended: Sequence[bool] | None = None,
) -> dict[str, Any]:
    """The `length` entry of evaluation.json: {"before": {mean, low, high, n}, "after": {…}}, each
    with `ended, ended_low, ended_high` where it is known which responses ended. Tokens."""
    record: dict[str, Any] = {}
    for name, tokens, ended in (("before", before, before_ended), ("after", after, after_ended)):
        length = mean_length(tokens, prompts)
        entry = {"mean": length.value, "low": length.low, "high": length.high, "n": length.n}
        if ended is not None:
            share = ended_share(ended)
            entry |= {"ended": share.value, "ended_low": share.low, "ended_high": share.high}
        record[name] = entry
    return record
