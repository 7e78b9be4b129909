"""Steps of a run whose gradient was unlike those before, or did not fit into float16."""

import math
from itertools import dropwhile

from luce.report.numbers import counted, number, percent
from luce.report.run import Run

NAMED = 5
"""Steps that are told by number."""

OFTEN, WITHIN = 3, 100
"""So many overflows within so many steps are more than the search for the right loss scale, which
overflows once in thousands."""


def unusual(run: Run) -> list[tuple[str, str]]:
    """What was unusual about the gradients of a run, each with what to do about it."""
    return _far(run) + _overflowing(run)


def clipped(run: Run) -> str | None:
    """The share of steps whose gradient was scaled down, in words; None where it was not
    recorded."""
    values = run.series("grad_norm/clipped").finite.values
    if not values:
        return None
    return f"{percent(math.fsum(values) / len(values))} of {counted(len(values), 'step')}"


def _far(run: Run) -> list[tuple[str, str]]:
    typical = run.series("grad_norm/typical")
    norms = run.series("grad_norm").finite
    at = dict(zip(norms.steps, norms.values, strict=True))
    pairs = zip(typical.steps, typical.values, strict=True)
    ratios = {step: at[step] / value for step, value in pairs if step in at and value > 0}
    rises = {step: ratio for step, ratio in ratios.items() if ratio > 1}
    found = []
    if rises:
        worst = max(rises, key=lambda step: rises[step])
        share = clipped(run)
        found.append(
            (
                f"The gradient was far larger than in the steps before{_steps(list(rises))}; at "
                f"step {worst} it was {number(rises[worst])} times what is typical"
                + (f". Gradients were clipped in {share}." if share else "."),
                "Lower `train.learning_rate` or `train.max_grad_norm`; where it is single steps, "
                "look for odd rows with `luce data check`.",
            )
        )
    falls = [step for step in ratios if step not in rises]
    if falls:
        found.append(
            (
                f"The gradient all but vanished{_steps(falls)}: it was less than a hundredth of "
                "what was typical of the steps before.",
                "Where the loss is at its floor, train fewer steps; otherwise look for rows that "
                "say nothing with `luce data check`.",
            )
        )
    return found


def _overflowing(run: Run) -> list[tuple[str, str]]:
    series = run.series("loss_scale/overflows").finite
    every = list(zip(series.steps, series.values, strict=True))
    settled = list(dropwhile(lambda pair: pair[1] > 0, every))
    steps = [step for step, count in settled if count > 0]
    often = any(
        sum(count for step, count in settled if start <= step < start + WITHIN) >= OFTEN
        for start in steps
    )
    if not often:
        return []
    scales = run.series("loss_scale").finite.values
    return [
        (
            f"Gradients overflowed in float16 again and again{_steps(steps)}; these steps were "
            f"made again with a smaller loss scale, at the end {number(scales[-1])}, and none was "
            "skipped.",
            "Set `train.bf16: true` or `model.dtype: float32`, or lower `train.learning_rate`.",
        )
    ]


def _steps(steps: list[int]) -> str:
    """ " at step 3", " at 2 steps (3 and 4)", " at 9 steps (3, 4, 5, 6, 7 and later)"."""
    if len(steps) == 1:
        return f" at step {steps[0]}"
    shown = [str(step) for step in steps[:NAMED]]
    last = "later" if len(steps) > NAMED else shown.pop()
    return f" at {counted(len(steps), 'step')} ({', '.join(shown)} and {last})"
