import math
import re

import matplotlib
import pytest

from luce.report import figures, load_run
from luce.report.curves import CURVES, POINTS, describe, downsample, smooth
from luce.report.plots import COLORS, FAINT, INK, draw, draw_overlaid
from luce.report.plots.run import _tick
from luce.report.run import Series
from luce.report.svg import inline_svg

BY_NAME = {curve.name: curve for curve in CURVES}


def test_a_preference_run_shows_the_curves_that_users_look_for(finished_folder):
    assert set(figures(load_run(finished_folder))) == {
        "loss",
        "accuracy",
        "margins",
        "logps",
        "scores",
        "length",
        "grad_norm",
        "learning_rate",
    }


def test_a_demonstration_run_shows_its_own(write_run):
    rows = [
        {"split": "train", "step": s, "loss": 2.0, "nll": 2.0, "length": 12.0} for s in range(5)
    ]
    assert set(figures(load_run(write_run(metrics=rows)))) == {"loss", "nll", "length"}


def test_the_ticks_of_a_rate_that_stands_still_differ(write_run):
    rows = [{"split": "train", "step": s, "learning_rate": 1e-6} for s in (1, 2)]
    figure = draw(load_run(write_run(metrics=rows)), BY_NAME["learning_rate"])
    assert figure is not None
    figure.canvas.draw()
    axes = figure.axes[0]
    told = [axes.yaxis.get_major_formatter()(y, 0) for y in axes.get_yticks()]
    assert len(set(told)) == len(told) > 2 and "1e−6" in told


def test_a_metric_that_is_never_finite_is_not_drawn(write_run):
    rows = [{"split": "train", "step": s, "loss": math.nan} for s in range(5)]
    assert figures(load_run(write_run(metrics=rows))) == {}


def test_the_accuracy_has_its_interval_as_a_band(finished_folder):
    figure = draw(load_run(finished_folder), BY_NAME["accuracy"])
    assert figure is not None
    (band,) = figure.axes[0].collections
    heights = band.get_paths()[0].get_extents()
    assert heights.ymin == pytest.approx(0.43) and heights.ymax > 0.75


def test_one_evaluation_alone_still_shows_its_interval(write_run):
    name = "eval_rewards/accuracies"
    row = {"split": "eval", "step": 9, "n": 9, name: 0.6, f"{name}_low": 0.3, f"{name}_high": 0.8}
    figure = draw(load_run(write_run(metrics=[row])), BY_NAME["accuracy"])
    assert figure is not None and figure.axes[0].get_ylim()[1] >= 0.8


def test_the_users_own_plot_settings_are_neither_used_nor_changed(finished_folder):
    with matplotlib.rc_context({"font.size": 31.0, "svg.fonttype": "path"}):
        figure = draw(load_run(finished_folder), BY_NAME["loss"])
        assert figure is not None
        assert figure.axes[0].yaxis.label.get_fontsize() == 10
        assert matplotlib.rcParams["font.size"] == 31.0
        assert matplotlib.rcParams["svg.fonttype"] == "path"


@pytest.mark.parametrize(
    ("value", "powers", "text"),
    [
        (0.0005, False, "0.0005"),
        (0.5, False, "0.5"),
        (-1200.0, False, "−1200"),
        (2e-7, True, "2e−7"),
        (0.0, True, "0"),
        (-1e-9, False, "0"),
    ],
)
def test_ticks_are_short_and_alike(value, powers, text):
    assert _tick(value, powers) == text


def test_downsampling_keeps_spikes_gaps_and_order():
    values = [math.sin(i / 50) for i in range(20_000)]
    values[7_777], values[13_131] = 99.0, -99.0
    values[16_000:17_000] = [math.nan] * 1_000
    thin = downsample(Series(tuple(range(20_000)), tuple(values)))
    assert len(thin) <= POINTS
    assert 99.0 in thin.values and -99.0 in thin.values
    assert list(thin.steps) == sorted(set(thin.steps))
    assert any(math.isnan(v) for v in thin.values)


def test_a_short_series_is_drawn_as_it_is():
    series = Series((1, 2), (3.0, math.nan))
    assert downsample(series) is series


def test_the_running_mean_passes_over_what_is_not_a_number():
    mean = smooth(Series((1, 2, 3, 4), (math.nan, 2.0, math.nan, 4.0)), 3)
    assert math.isnan(mean.values[0]) and mean.values[1:] == (2.0, 2.0, 3.0)


def test_the_running_mean_of_a_long_run_is_taken_at_few_steps_up_to_the_last():
    series = Series(tuple(range(5000)), tuple(float(i) for i in range(5000)))
    mean = smooth(series, 101, points=50)
    assert len(mean) == 50 and mean.steps[-1] == 4999
    assert mean.values[-1] == 4949.0


def test_svg_is_text_in_the_pages_colors_without_outside_names(finished_folder):
    run = load_run(finished_folder)
    curve, figure = figures(run)["logps"]
    svg = str(inline_svg(figure, "logps", curve.title, describe(curve, run)))
    assert "http" not in svg and "<metadata" not in svg and "xmlns" not in svg
    assert re.search(r"<text[^>]*>chosen, held out</text>", svg)
    assert "DejaVu" not in svg
    for color in (INK, FAINT, COLORS["chosen"], COLORS["rejected"]):
        bare = re.sub(r"var\(--[\w-]+, #\w+\)", "", svg)
        assert color not in bare and color in svg


def test_svg_ids_are_the_figures_own_and_all_references_resolve(finished_folder):
    run = load_run(finished_folder)
    svg = str(inline_svg(figures(run)["accuracy"][1], "accuracy", "t", "d"))
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert len(ids) == len(set(ids)) and all(i.startswith("accuracy-") for i in ids)
    used = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', svg)
    assert used and {a or b for a, b in used} <= set(ids)


def test_the_same_run_gives_the_same_svg(finished_folder):
    run = load_run(finished_folder)
    once, again = (str(inline_svg(figures(run)["loss"][1], "loss", "t", "d")) for _ in range(2))
    assert once == again


def test_a_hostile_title_is_escaped_in_svg(finished_folder):
    svg = str(inline_svg(figures(load_run(finished_folder))["loss"][1], "x", "<b>", '"><script>'))
    assert "<script" not in svg and "&lt;b&gt;" in svg


def test_a_curve_is_told_in_words_too(finished_folder):
    words = describe(BY_NAME["margins"], load_run(finished_folder))
    assert words.startswith("Margin (score, chosen − rejected). training: ")
    assert "held out: 0 at step 0, 0.177 at step 400, lowest 0, highest 0.177" in words


def test_runs_lie_over_each_other_by_letter(finished_folder, write_run):
    runs = [load_run(finished_folder), load_run(write_run("other"))]
    figure = draw_overlaid(runs, ["A", "B"], BY_NAME["accuracy"])
    assert figure is not None
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["A", "B"]
    assert draw_overlaid(runs, ["A", "B"], BY_NAME["kl"]) is None
