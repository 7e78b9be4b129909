"""Heatmaps: every cell with its number, readable on its color, n in the caption."""

import io
import math

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from luce.annotate.correlation import correlations
from luce.annotate.ratings import Ratings
from luce.errors import LuceError
from luce.report.heatmap import DARK, LIGHT, _two_decimals, caption, heatmap
from luce.report.svg import inline_svg

VALUES = np.array([[1.0, 0.847, -0.5], [0.847, 1.0, math.nan], [-0.5, math.nan, 1.0]])
COUNTS = np.array([[9, 8, 7], [8, 8, 0], [7, 0, 7]])
NAMES = ["helpful", "correct", "verbose"]


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def png(figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=60)
    return stream.getvalue()


def luminance(color) -> float:
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in matplotlib.colors.to_rgb(color)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_cells_hold_their_numbers_row_by_row():
    figure = heatmap(NAMES, VALUES, COUNTS, title="rho")
    axes = figure.axes[0]
    values, counts = texts(figure)[::2], texts(figure)[1::2]
    assert values == ["1", ".85", "−.50", ".85", "1", "–", "−.50", "–", "1"]
    assert counts == ["9", "8", "7", "8", "8", "0", "7", "0", "7"]
    where = [(text.get_position(), text.get_text()) for text in axes.texts[::2]]
    assert where[2] == ((2.5, 0.42), "−.50")  # first row, third column
    assert [label.get_text() for label in axes.get_yticklabels()] == NAMES
    assert [label.get_text() for label in axes.get_xticklabels()] == NAMES
    assert axes.get_ylim() == (3, 0)  # the first row on top
    assert [text.get_text() for text in figure.texts] == ["rho", "n = 0 to 8 items in a cell"]
    assert png(figure)


def test_each_cell_is_a_square_with_its_numbers_inside():
    axes = heatmap(NAMES, VALUES, COUNTS, title="").axes[0]
    places = [(column, row) for row in range(3) for column in range(3)]
    for place, patch, value, n in zip(
        places, axes.patches, axes.texts[::2], axes.texts[1::2], strict=True
    ):
        assert patch.get_xy() == place and patch.get_width() == patch.get_height() == 1
        for text in (value, n):
            assert text.get_position()[0] == place[0] + 0.5
            assert 0.3 < text.get_position()[1] - place[1] < 0.8
    many = heatmap([str(i) for i in range(9)], np.eye(9), np.ones((9, 9)), title="").axes[0]
    assert many.texts[80].get_position() == (8.5, 8.52)
    assert list(many.get_xticks()) == list(many.get_yticks()) == [i + 0.5 for i in range(9)]


@pytest.mark.parametrize(
    ("low", "ends"), [(-0.2, ("#8f3a12", "#f4f2ef", "#174a7c")), (0.0, ("#eef3f8", "", "#174a7c"))]
)
def test_the_ends_of_the_scale_have_the_ends_of_the_colors(low, ends):
    low_end = -1.0 if low < 0 else low
    values = np.array([[1.0, low_end, 0.0], [low_end, 1.0, 0.0], [0.0, 0.0, 1.0]])
    cells = heatmap(NAMES, values, COUNTS, title="", low=low).axes[0].patches
    found = [matplotlib.colors.to_hex(cell.get_facecolor()) for cell in cells[:3]]
    assert (found[0], found[1]) == (ends[2], ends[0])
    if low < 0:  # where the colors part; a table of steps has no middle one
        middle = matplotlib.colors.to_rgb(ends[1])
        assert matplotlib.colors.to_rgb(found[2]) == pytest.approx(middle, abs=0.02)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (1 - 1e-12, "1"),
        (0.9951, ">.99"),
        (0.994, ".99"),
        (0.0049, ".00"),
        (-0.0049, ".00"),
        (-0.006, "−.01"),
        (-0.9951, "<−.99"),
        (-1.0, "−1"),
    ],
)
def test_numbers_are_short_and_do_not_boast(value, text):
    assert _two_decimals(value) == text


def test_colors_tell_the_sign_and_the_size():
    cells = heatmap(NAMES, VALUES, COUNTS, title="").axes[0].patches
    one, high, low, unknown = (cells[i].get_facecolor() for i in (0, 1, 2, 5))
    assert one[2] > one[0] and high[2] > high[0] and low[0] > low[2]
    assert luminance(one[:3]) < luminance(high[:3]) and unknown[3] == 0
    shares = np.array([[1.0, 0.5], [0.5, 0.0]])
    rising = heatmap(["a", "b"], shares, np.ones((2, 2), int), title="", low=0.0).axes[0].patches
    assert [luminance(p.get_facecolor()[:3]) for p in (rising[0], rising[1], rising[3])] == sorted(
        luminance(p.get_facecolor()[:3]) for p in rising[:2] + rising[3:]
    )


@pytest.mark.parametrize("low", [-1.0, 0.0])
def test_every_number_can_be_read_on_its_color(low):
    """At least 4.5 to 1, what WCAG asks of small text."""
    k = 24
    values = np.linspace(low, 1.0, k * k).reshape(k, k)
    axes = heatmap([f"judge {i}" for i in range(k)], values, np.full((k, k), 9), title="", low=low)
    for patch, text in zip(axes.axes[0].patches, axes.axes[0].texts, strict=True):
        assert text.get_color() in (DARK, LIGHT)
        pair = sorted((luminance(patch.get_facecolor()[:3]), luminance(text.get_color())))
        assert (pair[1] + 0.05) / (pair[0] + 0.05) > 4.5


@pytest.mark.parametrize("k", [1, 2, 9, 24])
def test_nothing_lies_on_anything_else_or_leaves_the_page(k):
    rng = np.random.default_rng(0)
    values = -np.abs(rng.normal(0, 0.1, (k, k)))
    values[0, 0] = -0.999
    names = ["me", *(f"ChatGPT-0301/Vanilla_NoRules, no {i:02}" for i in range(1, k))]
    title = "Pearson's r between the judges of one data set, in the original order"
    figure = heatmap(names, values, np.full((k, k), 12345), title=title)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    axes, page = figure.axes[0], figure.bbox
    side = axes.get_window_extent().width / k
    for text in axes.texts:
        assert text.get_window_extent(renderer).width < side
    outside = [*axes.get_xticklabels(), *axes.get_yticklabels(), *figure.texts]
    boxes = [text.get_window_extent(renderer) for text in outside]
    for box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= page.x1 and box.y1 <= page.y1
    cells = axes.get_window_extent()
    assert not any(box.overlaps(cells) for box in boxes)
    caption_box = figure.texts[1].get_window_extent(renderer)
    assert not any(caption_box.overlaps(box) for box in boxes[:k])


def test_long_names_are_cut_and_dollars_are_no_mathematics():
    names = ["a$b_{$", "x" * 33, "y" * 32]
    figure = heatmap(names, np.eye(3), np.ones((3, 3), int), title="$\\bad$")
    axes = figure.axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["a$b_{$", "x" * 31 + "…", "y" * 32]
    assert png(figure)  # as mathematics these would not even parse


def test_captions():
    assert caption(np.array([[5]])) == "n = 5 items in every cell"
    assert caption(np.array([[9, 1], [1, 9]]), "pair") == "n = 1 pair in every cell"
    assert caption(np.array([[9, 1, 4], [1, 9, 1200], [4, 1200, 9]])) == (
        "n = 1 to 1,200 items in a cell"
    )


def test_many_columns_say_n_in_the_caption_only():
    def drawn(k):
        return heatmap([str(i) for i in range(k)], np.eye(k), np.full((k, k), 7), title="")

    assert len(texts(drawn(8))) == 2 * 8 * 8 and len(texts(drawn(9))) == 9 * 9
    assert texts(drawn(9))[1] == ".00"


def test_values_beyond_the_scale_take_the_color_of_its_end():
    figure = heatmap(["a", "b"], np.array([[1, -0.3], [-0.3, 1]]), np.ones((2, 2), int), title="",
                     low=0.0)  # fmt: skip
    end = heatmap(["a", "b"], np.array([[1, 0.0], [0.0, 1]]), np.ones((2, 2), int), title="",
                  low=0.0)  # fmt: skip
    cells = [f.axes[0].patches[1].get_facecolor() for f in (figure, end)]
    assert cells[0] == cells[1] and texts(figure)[2] == "−.30"


def test_correlations_are_drawn_as_they_come():
    ratings = Ratings(np.array([[1, 2, 1], [2, 2, 1], [3, 5, 1], [4, 4, np.nan]]), ("a", "b", "c"))
    found = correlations(ratings, "spearman", resamples=5)
    figure = heatmap(found.names, *found.matrix(), title="Spearman's rho")
    assert texts(figure)[::2] == ["1", ".74", "–", ".74", "1", "–", "–", "–", "–"]
    svg = str(inline_svg(figure, "rho", "Spearman's rho", "between three"))
    assert ".74" in svg and "n = 3 to 4 items" in svg


def test_tables_that_do_not_fit_are_refused():
    with pytest.raises(LuceError, match=r"2 names with values of shape \(3, 3\)"):
        heatmap(["a", "b"], VALUES, COUNTS, title="")
    with pytest.raises(LuceError, match=r"counts of shape \(2, 2\)"):
        heatmap(NAMES, VALUES, np.ones((2, 2)), title="")
    with pytest.raises(LuceError, match=r"holds 1.2; .* lie in \[−1, 1\]"):
        heatmap(["a", "b"], np.array([[1, 1.2], [1.2, 1]]), np.ones((2, 2)), title="")
    with pytest.raises(LuceError, match="0 names"):
        heatmap([], np.zeros((0, 0)), np.zeros((0, 0)), title="")
