"""Calibration and length in the report: the numbers of evaluation.json, and nothing where none."""

import numpy as np
import pytest

from luce.diagnostics.calibration import calibration
from luce.diagnostics.length import length_dependence
from luce.report.html import render_report
from luce.report.preferences import preferences, reliability
from luce.report.run import load_run

MARGINS = [2.0, -1.0, 0.5, 1.5] * 30


@pytest.fixture
def recorded(evaluation):
    fit = calibration(MARGINS, resamples=50)
    length = length_dependence(MARGINS, [9, 4, 5, 6] * 30, [5, 6, 5, 3] * 30, resamples=50)
    evaluation["calibration"] = fit.plain() | {"verdict": fit.verdict}
    evaluation["length_dependence"] = length.plain()
    ends = {"accuracy_low": 0.5, "accuracy_high": 0.6, "gain_low": 0.02, "gain_high": 0.18}
    words = {"accuracy_low": 0.6, "accuracy_high": 0.72, "gain_low": -0.09, "gain_high": 0.07}
    evaluation["baselines"] = {
        "shorter wins": {"n": 120, "accuracy": 0.55, "gain": 0.1} | ends,
        "bag of words": {"n": 120, "accuracy": 0.66, "gain": -0.01} | words,
    }
    return evaluation


def test_the_page_shows_what_was_recorded(write_run, recorded):
    run = load_run(write_run(evaluation=recorded))
    shown = preferences(run)
    assert shown is not None and shown["n"] == 120
    values = {name: value for name, value, _ in shown["rows"]}
    assert values["Expected calibration error"] == f"{recorded['calibration']['ece']:.3f}"
    # longer preferred in pairs 0 and 3 of three with unequal lengths, and so by the model
    assert values["Pairs in which the longer response is preferred"] == "66.7\xa0%"
    assert values["Pairs in which the model puts the longer one first"] == "100.0\xa0%"
    assert shown["baselines"] == [
        ("shorter wins", "55.0\xa0%", "50.0–60.0\xa0%", "better: +0.100 (0.0200–0.180)"),
        ("bag of words", "66.0\xa0%", "60.0–72.0\xa0%", "open: −0.0100 (−0.0900 to 0.0700)"),
    ]
    page = render_report(run)
    assert "Rules that need no model" in page
    assert "Preferences on held-out pairs" in page and "reliability-title" in page
    assert recorded["calibration"]["verdict"].split(":")[0] in page


def test_every_bin_is_a_point_with_its_interval(recorded):
    fit = recorded["calibration"]
    figure = reliability(fit)
    assert figure is not None
    points = figure.axes[0].collections[-1].get_offsets()
    expected = [[b["predicted"], b["agreed"]] for b in fit["bins"]]
    assert np.allclose(points, expected) and len(expected) > 1


def test_a_run_without_them_has_no_such_section(finished_folder):
    run = load_run(finished_folder)
    assert preferences(run) is None and "Preferences on held-out" not in render_report(run)


def test_what_is_not_known_is_said_so(write_run, recorded):
    recorded["calibration"] |= {"temperature": None, "temperature_low": None, "bins": []}
    del recorded["length_dependence"]
    shown = preferences(load_run(write_run(evaluation=recorded)))
    assert shown is not None and shown["plot"] is None
    assert ("Temperature that fits best", "–", "interval unknown") in shown["rows"]
