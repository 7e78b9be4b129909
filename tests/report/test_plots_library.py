"""Figures for data of one's own: what stands in them, what they refuse, and the page that shows
them."""

import math
import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import luce.report
from luce.errors import LuceError
from luce.intervals import Estimate
from luce.report import plots
from luce.report.plots.simplex import place
from luce.report.svg import inline_svg

PAGE = Path(__file__).resolve().parents[2] / "docs" / "plots.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.S)


def estimates(values, half=0.1):
    return [Estimate(float(v), float(v) - half, float(v) + half, 9) for v in values]


def lines(figure):
    """label → points of each line with a name."""
    return {
        line.get_label(): np.column_stack(line.get_data())
        for axes in figure.axes
        for line in axes.get_lines()
        if not line.get_label().startswith("_")
    }


@pytest.fixture(scope="module")
def page(tmp_path_factory, finished_folder):
    """The names that the blocks of the page leave behind, run in order, where they were run, and
    the figure of each file."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "runs").mkdir()
    (folder / "runs" / "hh-dpo").symlink_to(finished_folder)
    back = os.getcwd()
    os.chdir(folder)
    names, found = {}, {}
    try:
        for block in BLOCKS:
            exec(block, names)
            saved = re.findall(r'savefig\("(\w+)\.svg"\)', block)
            found |= {name: names["figure"] for name in saved}
    finally:
        os.chdir(back)
    return folder, found


def test_every_block_of_the_page_runs_and_draws(page):
    folder, found = page
    assert len(found) == 11
    for name in found:
        assert (folder / f"{name}.svg").stat().st_size > 3000, name
    assert (folder / "rewards.svg").exists() or (folder / "loss.svg").exists()


def test_the_pictures_of_the_page_are_those_of_its_blocks(page):
    folder, found = page
    shown = re.findall(r"!\[[^]]+\]\(plots/(\w+)\.svg\)", PAGE.read_text("utf-8"))
    assert shown == list(found)
    words = re.compile(r"<text[^>]*>([^<]*)</text>")
    for name in shown:
        kept = (PAGE.parent / "plots" / f"{name}.svg").read_text("utf-8")
        made = (folder / f"{name}.svg").read_text("utf-8")
        assert words.findall(kept) == words.findall(_as_text(found[name])), name
        assert len(made) > 0


def _as_text(figure):
    import io

    stream = io.StringIO()
    with plots.library_style():
        figure.savefig(stream, format="svg")
    return stream.getvalue()


def test_every_public_figure_has_a_place_on_the_page():
    text = PAGE.read_text("utf-8")
    functions = "curve frontier over_optimization margins lengths survival calibration intervals"
    for name in f"{functions} win_rates simplex objective figures".split():
        assert f"plots.{name}(" in text and name in plots.__all__


def test_every_figure_can_stand_in_a_page(page):
    _, found = page
    for name, figure in found.items():
        svg = str(inline_svg(figure, name, "t", "d"))
        assert "http" not in svg and "<script" not in svg


def test_no_figure_changes_the_users_settings(page):
    import matplotlib

    before = dict(matplotlib.rcParams)
    plots.curve({"a": ([1, 2], [1.0, 2.0])})
    assert dict(matplotlib.rcParams) == before


def test_a_table_over_seeds_is_its_mean_and_its_interval():
    points = plots.points_of(np.array([[1.0, 2.0, 3.0], [4.0, math.nan, 4.0]]))
    assert points.value.tolist() == [2.0, 4.0]
    half = 1.959964 / math.sqrt(3)  # the standard deviation is 1
    assert points.high[0] == pytest.approx(2 + half) and points.low[0] == pytest.approx(2 - half)
    assert points.low[1] == points.high[1] == 4.0


def test_a_row_with_one_seed_has_no_interval_and_one_without_is_a_gap():
    points = plots.points_of(np.array([[1.0, math.nan], [math.nan, math.nan]]))
    assert points.value[0] == 1.0 and not points.known.any() and math.isnan(points.value[1])


def test_bands_stand_where_intervals_are_known():
    some = estimates([1, 2, 3, 4])
    some[1] = Estimate(2.0, -math.inf, math.inf, 1)
    figure = plots.curve({"a": ([1, 2, 3, 4], some)})
    axes = figure.axes[0]
    bars = [c for c in axes.collections if c.__class__.__name__ == "LineCollection"]
    assert [s[0][0] for s in bars[0].get_segments()] == [1.0]  # alone: no neighbour for a band
    assert lines(figure)["a"].tolist() == [[1, 1], [2, 2], [3, 3], [4, 4]]


def test_a_frontier_is_in_the_order_of_kl_with_both_intervals():
    figure = plots.frontier({"m": (estimates([3, 1, 2], 0.5), estimates([30, 10, 20]))})
    assert lines(figure)["m"].tolist() == [[1, 10], [2, 20], [3, 30]]
    segments = [s.tolist() for c in figure.axes[0].collections for s in c.get_segments()]
    assert [[1.0, 9.9], [1.0, 10.1]] in segments and [[0.5, 10.0], [1.5, 10.0]] in segments


def test_over_optimization_is_over_the_root_with_the_best_gold_marked():
    figure = plots.over_optimization(
        [9, 0, 4], [3.0, 0.0, 2.0], [0.5, 0.0, 1.0], fitted=lambda k: k
    )
    found = lines(figure)
    assert found["proxy"].tolist() == [[0, 0], [2, 2], [3, 3]]
    assert found["gold"].tolist() == [[0, 0], [2, 1], [3, 0.5]]
    assert found["fitted"][-1].tolist() == [3.0, 9.0]
    marked = [line.get_xdata() for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 2]
    assert [list(x) for x in marked] == [[2.0, 2.0]]


def test_survival_counts_what_is_cut_as_longer():
    """By hand: of five responses two end at 1 and 3; those cut at 2, 4 and 4 leave the risk set.
    S(1) = 4/5, S(3) = 4/5 · 2/3 = 8/15; counting a cut as an end would give 2/5."""
    given_ = ([1, 2, 3, 4, 4], [True, False, True, False, False])
    figure = plots.survival({"a": given_}, log=False)
    way = lines(figure)["a"]
    at = {x: y for x, y in way.tolist()}
    assert at[0] == 1.0 and at[1] == pytest.approx(0.8) and at[3] == pytest.approx(8 / 15)
    assert at[4] == pytest.approx(8 / 15)
    rings = [line for line in figure.axes[0].get_lines() if line.get_fillstyle() == "none"]
    assert len(rings) == 1 and rings[0].get_ydata()[0] == pytest.approx(8 / 15)


def test_survival_without_a_cut_ends_at_zero():
    way = lines(plots.survival({"a": ([1, 2, 2, 5], [True] * 4)}, log=False))["a"]
    assert way[-1].tolist() == [5.0, 0.0]
    assert dict(map(tuple, way.tolist()))[2] == 0.25


def test_histograms_hold_every_value():
    """Also those beyond the outermost bins: the areas are the counts."""
    after = np.concatenate([np.linspace(-1, 1, 500), [1e6]])
    figure = plots.margins(None, after)
    (polygon,) = figure.axes[0].patches
    xy = polygon.get_xy()
    assert xy[:, 0].max() < 10
    heights = xy[1::2, 1]
    assert heights.sum() == 501


def test_dots_are_in_the_given_order_and_findings_are_marked():
    figure = plots.intervals(
        [("a", Estimate(0.6, 0.5, 0.7, 9)), ("$b", Estimate(0.4, -math.inf, math.inf, 1))],
        found=["$b"],
    )
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["a", "$b"]
    dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert [d.get_color() for d in dots] == [plots.COLORS["single"], plots.COLORS["rejected"]]
    spans = [line for line in axes.get_lines() if line.get_marker() != "o"]
    assert len(spans) == 2  # the level, and one interval: the other is not known


def test_win_rates_part_at_a_half():
    values = np.array([[math.nan, 0.5], [0.5, math.nan]])
    figure = plots.win_rates(["a", "b"], values, np.full((2, 2), 7))
    shades = [p.get_facecolor()[:3] for p in figure.axes[0].patches if p.get_facecolor()[3]]
    assert all(max(c) - min(c) < 0.03 for c in shades)  # a half has no color
    sure = plots.win_rates(
        ["a", "b"], np.array([[math.nan, 1.0], [0.0, math.nan]]), np.ones((2, 2))
    )
    wins, loses = [p.get_facecolor() for p in sure.axes[0].patches if p.get_facecolor()[3]]
    assert wins[2] > wins[0] and loses[0] > loses[2]


@given(st.lists(st.floats(0.01, 1), min_size=3, max_size=3))
def test_places_in_the_simplex_are_the_mean_of_the_corners(weights):
    p = np.array(weights) / sum(weights)
    x, y = place("p", [p.tolist()])[0]
    assert x == pytest.approx(p[1] + p[2] / 2) and y == pytest.approx(p[2] * 0.75**0.5)


def test_an_objective_is_drawn_with_its_parameters():
    texts = [t.get_text() for t in plots.objective("dpo", beta=0.25).texts]
    assert "dpo(beta = 0.25)" in texts


NONE = np.empty((0, 3))
REFUSED = {
    "no lines": (lambda: plots.curve({}), "none to draw"),
    "no policies": (lambda: plots.frontier({}), "none to draw"),
    "no responses": (lambda: plots.survival({}), "none to draw"),
    "no bins": (lambda: plots.calibration([]), "none to draw"),
    "no dots": (lambda: plots.intervals({}), "at least"),
    "no ways": (lambda: plots.simplex({}), "at least"),
    "a way of no step": (lambda: plots.simplex({"a": NONE}), r"\(0, 3\)"),
    "no distribution": (lambda: plots.simplex({"a": [[0.5, 0.6, 0.1]]}), "no distribution"),
    "values without places": (lambda: plots.curve({"a": ([1, 2], [1.0])}), "2 places and 1"),
    "estimates and numbers": (lambda: plots.points_of([*estimates([1]), 2.0]), "one kind"),
    "rewards without KL": (lambda: plots.frontier({"a": ([1, 2], [1.0])}), "2 KLs and 1"),
    "KL below 0": (lambda: plots.over_optimization([-1], [1.0], [1.0]), "0 or greater"),
    "too few golds": (lambda: plots.over_optimization([1, 2], [1.0, 2], [1.0]), "gold: 1"),
    "nobody ends": (lambda: plots.survival({"a": ([1, 2], [False, False])}), "0 are yes"),
    "one margin": (lambda: plots.margins(None, [1.0]), "two finite"),
    "nan": (lambda: plots.lengths([1.0, 2.0], [math.nan, 1.0]), "two finite"),
    "an unknown number": (lambda: plots.intervals(estimates_nan()), "finite value"),
    "a rate of 2": (lambda: plots.win_rates(["a"], np.array([[2.0]]), np.ones((1, 1))), "of 2"),
    "an unknown objective": (lambda: plots.objective("dop"), "dpo"),
}


def estimates_nan():
    return {"a": Estimate(math.nan, math.nan, math.nan, 0)}


@pytest.mark.parametrize(("call", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_drawn_is_refused_in_words(call, words):
    with pytest.raises(LuceError, match=words):
        call()


def test_the_library_is_reached_from_the_room():
    assert luce.report.plots is plots


def test_a_share_of_none_or_all_is_a_whole_dot():
    ends = {"none": Estimate(0.0, 0.0, 0.1, 9), "all": Estimate(1.0, 0.9, 1.0, 9)}
    figure = plots.intervals(ends)
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [dot.get_clip_on() for dot in dots] == [False, False]
