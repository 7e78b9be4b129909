"""Gradients that were unlike those before are told with their steps, and a calm run is silent."""

from typing import Any

import pytest

from luce.report import load_run
from luce.report.html import render_report
from luce.report.unusual import clipped, unusual
from luce.report.words import cautions


def rows(**columns: dict[int, float] | list[float]) -> list[dict[str, Any]]:
    """Training records: a column is a list, or values by step."""
    steps = max(len(c) if isinstance(c, list) else max(c, default=0) for c in columns.values())
    found = []
    for step in range(1, steps + 1):
        row: dict[str, Any] = {"split": "train", "step": step}
        for name, column in columns.items():
            key = name.replace("__", "/")
            if isinstance(column, list):
                row[key] = column[step - 1]
            elif step in column:
                row[key] = column[step]
        found.append(row)
    return found


def said(run) -> list[str]:
    return [what.replace("\xa0", " ") for what, _ in unusual(run)]


def test_a_calm_run_is_silent(write_run):
    calm = rows(grad_norm=[1.0] * 200, grad_norm__clipped=[1.0] * 200, loss_scale=[65536.0] * 200)
    run = load_run(write_run(metrics=calm))
    assert unusual(run) == [] and clipped(run) == "100.0\xa0% of 200 steps"
    assert unusual(load_run(write_run("bare", metrics=[]))) == []
    assert clipped(load_run(write_run("bare again", metrics=[]))) is None


def test_spikes_are_told_with_the_worst_of_them(write_run):
    norms = [1.0] * 40
    norms[20], norms[29] = 12.0, 46.0
    records = rows(
        grad_norm=norms,
        grad_norm__typical={21: 1.0, 30: 2.0},
        grad_norm__clipped=[float(norm > 1) for norm in norms],
    )
    run = load_run(write_run(metrics=records))
    assert said(run) == [
        "The gradient was far larger than in the steps before at 2 steps (21 and 30); at step 30 "
        "it was 23.0 times what is typical. Gradients were clipped in 5.0 % of 40 steps."
    ]
    assert any("train.max_grad_norm" in caution.remedy for caution in cautions(run))
    page = render_report(run).replace("\xa0", " ")
    assert "far larger than in the steps before" in page and "5.0 % of 40 steps" in page


def test_a_gradient_that_vanishes_is_told(write_run):
    norms = [1.0] * 30
    for step in range(20, 28):
        norms[step - 1] = 0.0
    typical = {step: 1.0 for step in range(20, 28)}
    run = load_run(write_run(metrics=rows(grad_norm=norms, grad_norm__typical=typical)))
    (text,) = said(run)
    assert text.startswith(
        "The gradient all but vanished at 8 steps (20, 21, 22, 23, 24 and later): it was less"
    )


@pytest.mark.parametrize(
    ("overflows", "told"),
    [
        ({1: 9.0, 2: 3.0}, False),  # the search for the scale, at the start
        ({1: 9.0, 200: 1.0, 400: 1.0, 600: 1.0}, False),  # now and then it is tried
        ({1: 9.0, 200: 1.0, 230: 1.0, 290: 1.0}, True),
        ({200: 3.0}, True),
    ],
)
def test_a_loss_scale_that_keeps_falling_is_told(write_run, overflows, told):
    every = [overflows.get(step, 0.0) for step in range(1, 701)]
    records = rows(loss_scale__overflows=every, loss_scale=[65536.0] * 699 + [4.0])
    found = said(load_run(write_run(metrics=records)))
    assert bool(found) == told
    if told:
        assert found[0].startswith("Gradients overflowed in float16 again and again at ")
        assert "loss scale, at the end 4.00, and none was skipped" in found[0]
        assert "step 1 " not in found[0] and "(1," not in found[0]
