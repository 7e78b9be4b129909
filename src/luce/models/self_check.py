"""Does a network compute in a cheaper way what it computes in its own? Measured, not believed.

The truth is the network's own forward on padded rows. Against it stand the layouts and the
log-probability kernel; whatever is off is not used, and the reason is kept.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from luce.errors import LuceError, ModelError
from luce.models.layout import LAYOUTS, Layout
from luce.types import Packed, Span

TOLERANCE = 2e-3
"""Nats per sequence of the built-in probe. Right paths are off by 5e-5 at most in float32, wrong
ones (a blind response, a state carried over, a lost scale) by 0.04 and more."""

HALF_TOLERANCE = 0.25
"""The same where the network can only be run in 16 bits."""

FLOAT32_TWIN = 1_000_000_000
"""Parameters up to which a network in 16 bits is checked on a float32 copy of itself."""

BROKEN = (LuceError, TypeError, ValueError, RuntimeError, KeyError, IndexError, AttributeError)
"""What a network raises that cannot run a layout at all."""


def probe(vocabulary: int, avoid: Sequence[int] = (), keep_last: bool = False) -> Packed:
    """Three groups of random tokens, packed: prompts of 7, 3 and 5, responses of 5 and 3; 4, 4 and
    2; 6 tokens, all scored. Always the same for a vocabulary."""
    ids = [i for i in range(min(vocabulary, 4096)) if i not in avoid] or [0]
    generator = torch.Generator().manual_seed(0)
    row, positions, spans, predict, targets, lengths, ends = [], [], [], [], [], [], []
    for prompt, branches in ((7, (5, 3)), (3, (4, 4, 2)), (5, (6,))):
        start = len(row)
        draw = torch.randint(len(ids), (prompt + sum(branches),), generator=generator).tolist()
        tokens = [ids[i] for i in draw]
        row += tokens[:prompt]
        positions += range(prompt)
        at = prompt
        for length in branches:
            response = tokens[at : at + length]
            at += length
            kept = response if keep_last else response[:-1]
            predict += [start + prompt - 1, *range(len(row), len(row) + length - 1)]
            row += kept
            positions += range(prompt, prompt + len(kept))
            targets += response
            lengths.append(length)
            ends.append(len(row) - 1)
        kept_lengths = tuple(n if keep_last else n - 1 for n in branches)
        spans.append(Span(start, prompt, kept_lengths))
    return Packed(
        input_ids=torch.tensor(row),
        position_ids=torch.tensor(positions),
        spans=tuple(spans),
        predict=torch.tensor(predict),
        targets=torch.tensor(targets),
        lengths=torch.tensor(lengths),
        ends=torch.tensor(ends),
        sizes=tuple(len(s.branches) for s in spans),
    )


def truth_of(path: str, measure: Callable[[], Tensor]) -> Tensor:
    """What the network says by itself; ModelError where it does not run."""
    try:
        return measure()
    except BROKEN as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(f"{path}: the model does not run on a padded batch: {lines[0]}") from error


def deviation(measure: Callable[[], Tensor], truth: Tensor) -> float | str:
    """The largest difference per sequence, or why there is none to take."""
    try:
        found = measure()
    except BROKEN as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return lines[0]
    worst = float((found - truth).abs().max())
    return worst if worst == worst else "the result is nan"


def first_right_layout(
    best: Layout, reason: str, measure: Callable[[Layout], Tensor], truth: Tensor, tolerance: float
) -> tuple[Layout, str, tuple[str, ...]]:
    """The cheapest layout, from `best` down, that gives the truth; why; and a warning for every
    layout that should have and did not."""
    warnings = []
    for layout in LAYOUTS[LAYOUTS.index(best) : -1]:
        off = deviation(lambda layout=layout: measure(layout), truth)
        if isinstance(off, float) and off <= tolerance:
            checked = f"{reason}; checked against padded rows to {off:.1e} nats"
            return layout, checked, tuple(warnings)
        found = off if isinstance(off, str) else f"off by {off:.2g} nats a sequence"
        reason = f"layout {layout} failed its check ({found})"
        warnings.append(f"{reason}; a slower layout is used.")
    return "padded", reason, tuple(warnings)
