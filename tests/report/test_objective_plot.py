"""What is drawn of an objective, read back from the figure."""

import warnings

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from luce.errors import LuceError
from luce.objectives.build import make_objective
from luce.objectives.curves import curves, of_loss
from luce.objectives.losses import LOSSES
from luce.objectives.presets import OBJECTIVES
from luce.report.objective_plot import draw, save_plot, title


def figure(name: str, **parameters):
    objective = make_objective(name, parameters)
    return draw(title(name, objective.parameters), curves(objective))


def texts(drawn) -> list[str]:
    legend = [t.get_text() for t in drawn.legends[0].get_texts()]
    return [t.get_text() for t in drawn.texts] + legend


def test_a_pair_with_a_link_has_three_panels():
    drawn = figure("dpo", beta=0.1)
    assert [a.get_ylabel() for a in drawn.axes] == [
        "cost",
        "slope of the cost",
        "P(chosen ≻ rejected)",
    ]
    assert "log π/π_ref(chosen) − log π/π_ref(rejected) (nats)" in texts(drawn)
    assert "dpo(beta = 0.1)" in texts(drawn)
    assert "a pair, satisfied at 29.44" in texts(drawn)


def test_a_loss_without_a_link_has_two():
    assert len(figure("gpo_hinge").axes) == 2
    assert len(draw("hinge", of_loss(LOSSES["hinge"])).axes) == 2


def test_good_and_bad_responses_are_two_curves_each_with_its_mark():
    drawn = figure("bco", beta=0.1)
    assert "undesirable response, satisfied at −29.44" in texts(drawn)
    marks = [line for line in drawn.axes[0].lines if line.get_marker() == "o"]
    assert sorted(m.get_xdata()[0] for m in marks) == pytest.approx([-29.44, 29.44], abs=0.01)


def test_what_is_drawn_is_the_cost_and_its_slope():
    cost, slope = figure("ipo", tau=0.1).axes[:2]
    x, y = cost.lines[0].get_data()
    assert y == pytest.approx([(h - 5) ** 2 for h in x])
    x, y = slope.lines[0].get_data()
    assert y == pytest.approx([2 * (h - 5) for h in x], abs=1e-9)
    assert min(x) < 0 < 5 < max(x)


def test_what_the_curve_leaves_out_is_said():
    assert "without: regularizer −0.1·log π(chosen)" in texts(figure("slic"))


DRAWN = [name for name in OBJECTIVES if name not in ("sft", "nll")]
OF_EACH_KIND = ("alpha_dpo", "apo_down", "inpo", "kto", "lipo", "mixture", "pbde_geometric", "rrhf")


@pytest.mark.parametrize(
    "name",
    [n if n in OF_EACH_KIND else pytest.param(n, marks=pytest.mark.slow) for n in DRAWN],
)
def test_no_text_of_any_figure_runs_over_its_edge(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = figure(name)
        renderer = FigureCanvasAgg(drawn).get_renderer()
        drawn.draw(renderer)
    for artist in [*drawn.texts, *drawn.legends, *(a.yaxis.label for a in drawn.axes)]:
        box = artist.get_window_extent(renderer)
        assert box.x0 >= 0 and box.x1 <= drawn.bbox.width, artist
        assert box.y0 >= 0 and box.y1 <= drawn.bbox.height, artist
    for axes in drawn.axes:
        low, high = axes.get_ylim()
        assert low < high and any(line.get_linewidth() > 1 for line in axes.lines)


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf"])
def test_the_same_picture_gives_the_same_bytes(tmp_path, ending):
    one, two = tmp_path / f"a{ending}", tmp_path / f"b{ending}"
    save_plot("losses/savage", {}, one)
    save_plot("savage", {}, two)
    assert len(one.read_bytes()) > 4000
    if ending != ".svg":  # its ids are made from the name
        assert one.read_bytes() == two.read_bytes()
    save_plot("losses/savage", {}, two)
    assert one.read_bytes() == two.read_bytes()


def test_there_is_no_other_kind_of_picture(tmp_path):
    with pytest.raises(LuceError, match="no picture is called '.jpg'"):
        save_plot("dpo", {}, tmp_path / "x.jpg")
    with pytest.raises(LuceError, match="only objectives and losses are drawn"):
        save_plot("scores/log_ratio", {}, tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []
