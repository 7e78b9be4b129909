"""The page and the table of a sweep."""

import math
import re

import pytest

from luce.report.sweep_fold import Mean, SweepRun, fold, mean_over_seeds, metric_of
from luce.report.sweep_page import (
    frontier_figure,
    headline,
    line_key,
    plus_minus,
    sweep_json,
    sweep_page,
)
from luce.report.sweep_text import sweep_lines


def made(folder, beta, seed, **results):
    name = f"beta={beta},seed={seed}"
    values = {"objective.dpo.beta": beta, "train.seed": str(seed)}
    status = "finished" if results else "failed"
    return SweepRun(
        name, folder / name, values, status, "" if results else "<b>nan</b> at step 3", results
    )


@pytest.fixture
def runs(tmp_path):
    found = [
        made(tmp_path, "0.1", 0, win_rate=0.70, kl=4.0, accuracy=0.8),
        made(tmp_path, "0.1", 1, win_rate=0.74, kl=6.0, accuracy=0.8),
        made(tmp_path, "1", 0, win_rate=0.60, kl=1.0, accuracy=0.7),
        made(tmp_path, "1", 1),
    ]
    found[0].folder.mkdir()
    (found[0].folder / "report.html").write_text("x")
    return found


def test_the_page_is_whole_and_links_to_the_reports(runs, tmp_path):
    text = sweep_page(tmp_path, "<r>.yaml", runs, ["luce", "sweep", "<r>.yaml"])
    assert "http://" not in text and "https://" not in text and "<script" not in text
    assert 'href="beta%3D0.1%2Cseed%3D0/report.html"' in text
    assert text.count("report.html") == 1  # the others have none
    assert "&lt;b&gt;nan&lt;/b&gt; at step 3" in text and "&lt;r&gt;.yaml" in text
    assert "72.0\xa0±\xa02.8\xa0%" in text and 'id="frontier-title"' in text


def test_the_frontier_is_told_in_words_and_in_json(runs):
    settings = fold(runs)
    said = headline(settings)
    assert said[0] == "3 of 4 runs of 2 settings finished; 1 failed."
    assert said[1].replace("\xa0", " ") == (
        "Not beaten in both win rate over the initial policy and KL: beta=1 (60.0 % at 1.00 nats); "
        "beta=0.1 (72.0 ± 2.8 % at 5.00 ± 1.4 nats)."
    )
    found = sweep_json("r.yaml", runs)
    assert found["frontier"]["reward"] == "win_rate"
    assert found["settings"][0]["means"]["kl"] == {
        "mean": 5.0, "sd": pytest.approx(math.sqrt(2)), "n": 2,
    }  # fmt: skip
    assert found["runs"][3]["error"] == "<b>nan</b> at step 3"


def test_the_terminal_has_eighty_columns(runs):
    lines = sweep_lines(runs)
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["setting", "n/N", "win", "rate", "%", "KL", "accuracy", "%"]
    assert lines[1].split() == ["beta=0.1", "2/2", "72.0±2.8", "5.00±1.4", "80.0±0.0"]
    assert lines[2].split()[1] == "1/2" and lines[3].startswith("failed: beta=1,seed=1")


def test_without_a_win_rate_accuracy_takes_its_place_and_without_kl_there_is_no_figure(tmp_path):
    some = [made(tmp_path, b, 0, accuracy=0.5, kl=float(b)) for b in ("1", "2")]
    assert sweep_json("r", some)["frontier"]["reward"] == "accuracy"
    none = [made(tmp_path, b, 0, accuracy=0.5) for b in ("1", "2")]
    assert "Reward against KL" not in sweep_page(tmp_path, "r", none)
    failed = [made(tmp_path, b, 0) for b in ("1", "2")]
    assert "0 of 2 runs" in sweep_page(tmp_path, "r", failed)


def test_points_are_joined_along_the_key_with_the_most_numbers(tmp_path):
    runs = [
        SweepRun(f"{o}{b}", tmp_path / "x", {"objective": o, "train.beta": b}, "finished", "",
                 {"accuracy": 0.5, "kl": 1.0})
        for o in ("dpo", "ipo") for b in ("0.1", "1", "10")
    ]  # fmt: skip
    assert line_key(fold(runs)) == "train.beta"
    assert line_key(fold(runs[:1])) is None


def test_one_seed_has_no_deviation():
    assert math.isnan(mean_over_seeds([2.0]).sd)
    assert plus_minus(metric_of("kl"), Mean(2.0, math.nan, 1)) == "2.00"


def test_the_axis_of_a_share_ends_where_shares_do(tmp_path):
    found = [made(tmp_path, beta, seed, accuracy=1.0, kl=1.0 + seed)
             for beta in ("0.1", "1") for seed in (0, 1)]  # fmt: skip
    figure = str(frontier_figure(fold(found)))
    assert "100 %" in figure and not re.search(r"10[1-9](\.\d)? %|100\.\d %", figure)
