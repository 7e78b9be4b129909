"""Memory that grows is told from memory that does not."""

from dataclasses import replace

import numpy as np
import pytest
from soak_memory import ENOUGH, Slope, between, least_squares, slopes_between, slopes_within, within

from luce.intervals import Estimate


def samples(hourly_mib: float, hours: float = 2.0, start: float = 300.0) -> tuple:
    """Every second; memory goes up and down by some MiB within minutes, as an allocator's does."""
    t = np.arange(0.0, 3600 * hours)
    draw = np.random.default_rng(0)
    noise = np.repeat(draw.normal(0.0, 2.0, len(t) // 30 + 1), 30)[: len(t)]
    warming = 50 * np.exp(-t / 300)
    return t.tolist(), (start - warming + noise + hourly_mib * t / 3600).tolist()


def test_the_slope_of_a_line_by_hand() -> None:
    """Points (0, 1), (1, 3), (2, 8): Σ(x − 1)(y − 4) / Σ(x − 1)² = (3 + 0 + 4) / 2."""
    assert least_squares(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 8.0])) == 3.5


def test_a_process_that_grows_is_found_and_a_flat_one_is_not_told() -> None:
    grows, still = within("a", *samples(10.0)), within("b", *samples(0.0))
    assert grows is not None and still is not None
    assert not grows.flat and grows.slope.low < 10.0 < grows.slope.high
    assert still.flat and abs(still.slope.value) < 2.0
    shrinks = within("c", *samples(-10.0))
    assert shrinks is not None and shrinks.flat


def test_a_slope_that_is_sure_and_does_not_matter() -> None:
    """300 MiB: 30 in a week are a tenth, 0.179 an hour; the interval's upper end decides."""
    slow = Slope("a", (300.0, 300.1), Estimate(0.1, 0.05, 0.17, 9), 9)
    assert slow.flat and not replace(slow, slope=Estimate(0.1, 0.05, 0.18, 9)).flat
    assert replace(slow, slope=Estimate(0.1, -0.05, 9.0, 9)).flat


def test_too_short_a_life_says_nothing() -> None:
    assert within("a", *samples(10.0, hours=0.1)) is None
    assert within("a", [], []) is None
    assert between("a", [1.0], [1.0] * (ENOUGH - 1)) is None
    assert between("a", [], [1.0] * ENOUGH) is None


def test_peaks_that_grow_from_process_to_process() -> None:
    draw = np.random.default_rng(1)
    still = between("a", [401.0], [400 + float(e) for e in draw.normal(0, 1, 30)])
    more = [400 + 0.5 * k + float(e) for k, e in enumerate(draw.normal(0, 1, 30))]
    grows = between("b", [401.0], more)
    assert still is not None and grows is not None
    assert still.flat and not grows.flat
    below = between("c", [500.0], more)
    assert below is not None and below.slope.low > 0.0 and below.flat
    assert grows.slope.value == pytest.approx(0.5, abs=0.1)


def test_slopes_of_what_was_written_down() -> None:
    t, rss = samples(20.0, hours=1.5)
    lines = [{"name": "long-train", "t": a, "rss": 1024 * b} for a, b in zip(t, rss, strict=True)]
    lines += [{"name": "dpo-0/cycle 1.0", "t": 0.0, "rss": 5.0}]
    (found,) = slopes_within(lines, ["long-train", "long-server"])
    assert found.name == "long-train" and not found.flat and found.mib[0] < found.mib[1]
    ends = [
        {"event": "end", "work": f"dpo-lora-{k % 2}", "role": f"cycle {k}.0", "peak_mib": 300.0 + k}
        for k in range(8)
    ]
    calm = {"event": "end", "work": "dpo-lora-0", "role": "calm 0.0", "peak_mib": 299.0}
    export = {"event": "end", "work": "annotate-0", "role": "cycle 0.votes", "peak_mib": 1.0}
    (runs,) = slopes_between([calm, *ends, export, {"event": "kill"}])
    assert runs.name == "dpo-lora" and runs.n == 8 and runs.mib == (299.0, 307.0)
    assert runs.slope.value == pytest.approx(1.0) and not runs.flat
