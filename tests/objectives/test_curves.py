"""Where a cost is satisfied, and its parabola at 0, against numbers worked by hand."""

import math

import pytest
import torch

from luce.errors import LuceError
from luce.objectives.build import make_objective
from luce.objectives.combine import WeightedSum
from luce.objectives.curves import (
    Curve,
    Satisfied,
    Shape,
    curves,
    derivative,
    of_loss,
    satisfied,
    shape,
)
from luce.objectives.labels import flipped
from luce.objectives.losses import LOSSES
from luce.objectives.objective import Objective
from luce.objectives.presets import OBJECTIVES
from luce.objectives.scores import log_ratio

TENTH = math.log(19)
"""σ(−z) is a tenth of its value at 0, ½, where e^z = 19."""

BUMP = (1 + math.sqrt(0.9)) / 2
"""s (1 − s) is a tenth of its value at ½, 0.025."""

LN2 = math.log(2)
BLEND = (
    # (1 − m) a + m b with m = σ(20 z), a = −log σ(z), b = e⁻ᶻ
    (LN2 + 1) / 2,
    5 * (1 - LN2) - (0.5 + 1) / 2,
    (0.25 + 1) / 2 + 2 * 5 * (-1 + 0.5),
)
SHAPES = {
    "logistic": (LN2, -0.5, 0.25),
    "hinge": (1, -1, 0),
    "square": (1, -2, 2),
    "exponential": (1, -1, 1),
    "truncated_quadratic": (1, -2, 2),
    "savage": (0.25, -0.25, 0.125),
    "linear": (0, -1, 0),
    "sigmoid": (0.5, -0.25, 0),
    "squared_error": (0, 0, 2),
    "blend": BLEND,
    "clipped_logistic": (LN2, -0.5, 0.25),
}
RATIOS = {"logistic": 2, "square": 1, "exponential": 1, "truncated_quadratic": 1, "savage": 2}
RATIOS |= {"clipped_logistic": 2}


def test_every_loss_has_its_numbers_worked_by_hand():
    assert set(SHAPES) == set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_value_slope_and_curvature_at_0(name):
    found = shape(LOSSES[name].phi)
    assert (found.value, found.slope, found.curvature) == pytest.approx(SHAPES[name], abs=1e-12)
    assert found.ratio == pytest.approx(RATIOS.get(name))


@pytest.mark.parametrize("name", LOSSES)
def test_tail_and_convexity_are_what_the_curve_does(name):
    """Class I has a slope below 0 everywhere far out; a convex curve has one that never falls."""
    loss = LOSSES[name]
    far = derivative(loss.phi, torch.tensor([3.0, 10.0, 30.0], dtype=torch.float64))
    assert bool((far < 0).all()) == (loss.tail == "I")
    slopes = derivative(loss.phi, torch.linspace(-8, 8, 2001, dtype=torch.float64))
    assert bool((slopes.diff() >= -1e-9).all()) == loss.convex


def test_savage_is_not_convex():
    slopes = derivative(LOSSES["savage"].phi, torch.tensor([-9.0, -1.0], dtype=torch.float64))
    assert slopes[0] > slopes[1] and not LOSSES["savage"].convex


def at(name: str, **parameters) -> Satisfied:
    shown = curves(make_objective(name, parameters))
    return satisfied(shown.curves[0], shown.scale)


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("dpo", {"beta": 0.1}, TENTH / 0.1),
        ("dpo", {"beta": 2.0}, TENTH / 2),
        ("luce", {}, TENTH),
        ("ln_dpo", {"beta": 5.0}, TENTH / 5),
        # with γ the slope at 0 is −σ(γ), of which a tenth is wanted
        ("simpo", {"beta": 2.0, "gamma": 1.0}, (1 + math.log(10 * (1 + math.exp(-1)) - 1)) / 2),
        ("gpo_exponential", {"beta": 0.1}, math.log(10) / 0.1),
        ("orpo", {}, TENTH),
        ("apo_zero", {"beta": 1.0}, math.log(BUMP / (1 - BUMP))),
    ],
)
def test_where_the_slope_is_a_tenth_of_that_at_0(name, parameters, expected):
    found = at(name, **parameters)
    assert found.how == "the slope is a tenth of that at 0"
    assert found.at == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("ipo", {"tau": 0.1}, 5.0),
        ("ipo", {"tau": 0.02}, 25.0),
        ("gpo_hinge", {"beta": 0.1}, 10.0),
        ("gpo_square", {"beta": 0.1}, 10.0),
        ("gpo_truncated_quadratic", {"beta": 0.5}, 2.0),
        ("rso_hinge", {"gamma": 0.05}, 20.0),
        ("slic", {"delta": 3.0}, 3.0),
        ("cdpo", {"beta": 0.1, "eps": 0.1}, math.log(9) / 0.1),
        ("exo", {"beta": 0.1, "eps": 0.001}, math.log(999) / 0.1),
        ("inpo", {"eta": 0.005}, 100.0),
        ("sppo", {"beta": 0.001}, 500.0),
        ("nca", {"beta": 0.01}, math.log(2) / 0.01),
        ("chipo", {"beta": 0.1, "R": 1.0}, 20.0),
        ("rebel", {}, 0.0),
        ("rrhf", {}, 0.0),
    ],
)
def test_where_the_slope_is_0(name, parameters, expected):
    found = at(name, **parameters)
    assert found.how == "the slope is 0"
    assert found.at == pytest.approx(expected, rel=1e-7, abs=1e-12)


def test_a_cost_that_never_flattens_or_does_not_fall_says_so():
    assert at("simper") == Satisfied(None, "never")
    assert at("robust_dpo") == Satisfied(None, "never")
    assert at("discopop") == Satisfied(None, "it does not fall at 0")


def test_a_bad_response_is_satisfied_as_far_below_0():
    good, bad = curves(make_objective("bco", {"beta": 0.1})).curves
    assert good.rising and not bad.rising
    assert satisfied(bad, 0.1).at == pytest.approx(TENTH / 0.1)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_slope_of_a_curve_is_that_of_its_cost(name):
    """The cost at x is that at 0 plus the integral of the slopes between."""
    try:
        shown = curves(OBJECTIVES[name]())
    except LuceError as error:
        assert name in ("sft", "nll") and "is no function of a margin" in str(error)
        return
    for curve in shown.curves:
        end = 1 / shown.scale
        x = torch.linspace(0, end, 20_001, dtype=torch.float64)
        slopes = derivative(curve.cost, x)
        rise = torch.trapezoid(slopes, x).item()
        ends = curve.cost(torch.tensor([0.0, end], dtype=torch.float64))
        assert (ends[1] - ends[0]).item() == pytest.approx(rise, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "margin"),
    [(name, -0.5) for name in ("dpo", "cdpo", "robust_dpo", "exo", "ipo", "gpo_savage", "simpo")]
    + [("ln_dpo", -0.5), ("luce", 0.5), ("discopop", -0.5), ("rso_hinge", -0.5)],
)
def test_a_curve_is_the_cost_of_the_pair_with_that_margin(name, margin, pair):
    objective = OBJECTIVES[name]()
    (curve,) = curves(objective).curves
    drawn = curve.cost(torch.tensor([margin], dtype=torch.float64)).item()
    assert drawn == pytest.approx(objective(pair).item(), rel=1e-12)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # sums: the chosen response raised by x/2, the rejected one lowered by as much
        ("cal_dpo", lambda x: softplus(-x) + (x / 2 - 250) ** 2),
        ("apo_down", lambda x: sigma(-0.1 * x) + sigma(0.05 * x)),
        ("mpo", lambda x: 0.8 * softplus(-0.1 * x) + 0.4 * softplus(-0.05 * x)),
        # lists of two, likewise
        ("plackett_luce", lambda x: softplus(-0.1 * x)),
        ("rrhf", lambda x: max(0.0, -x)),
        ("lipo", lambda x: (1 / math.log(2) - 1 / math.log(3)) * softplus(-0.05 * x)),
        ("nca_list", lambda x: 1.5 * softplus(-x / 200) + 0.5 * softplus(x / 200)),
        ("mixture", lambda x: softplus(-x)),
        # single responses
        ("kto", lambda x: sigma(-0.1 * x)),
        ("nca", lambda x: softplus(-0.01 * x) + 0.5 * softplus(0.01 * x)),
        ("sppo", lambda x: 0.5 * (x - 500) ** 2),
    ],
)
@pytest.mark.parametrize("x", [-3.0, 0.5, 40.0])
def test_curves_of_other_structures(name, expected, x):
    (first, *_) = curves(OBJECTIVES[name]()).curves
    found = first.cost(torch.tensor([x], dtype=torch.float64)).item()
    assert found == pytest.approx(expected(x), rel=1e-9)


def test_what_is_left_out_is_named():
    def left(name):
        return curves(OBJECTIVES[name]()).left_out

    assert left("dpo") == ()
    assert left("slic") == ("regularizer −0.1·log π(chosen)",)
    assert left("bradley_terry") == ("target margin",)
    assert left("kto") == ("baseline z₀",)
    assert left("dr_dpo") == ("aggregate",)
    assert left("beta_dpo") == ("weight kept", "margin scale 1 + 0.6·[mean M − M₀]")
    assert left("mpo") == ("nll", "baseline z₀")


def test_units_and_quantities():
    shown = {name: curves(OBJECTIVES[name]()) for name in ("dpo", "simpo", "orpo", "lipo", "kto")}
    assert {name: c.unit for name, c in shown.items()} == {
        "dpo": "nats",
        "simpo": "nats per token",
        "orpo": "",
        "lipo": "nats",
        "kto": "nats",
    }
    assert shown["kto"].quantity == "log π/π_ref(y)"
    assert shown["lipo"].quantity == "log π/π_ref(better) − log π/π_ref(worse)"


def test_the_link_is_drawn_where_there_is_one():
    x = torch.tensor([10.0], dtype=torch.float64)
    link = curves(make_objective("dpo", {"beta": 0.1})).curves[0].probability
    assert link is not None and link(x).item() == pytest.approx(1 / (1 + math.exp(-1)))
    assert curves(OBJECTIVES["gpo_hinge"]()).curves[0].probability is None


def test_a_slope_that_underflows_is_not_a_slope_of_0():
    """e⁻ᶻ is 0 in float64 from z = 746, and never done."""
    steep = Curve("a pair", lambda x: torch.exp(-100 * x))
    assert satisfied(steep, 1.0).how == "the slope is a tenth of that at 0"
    assert satisfied(steep, 1.0).at == pytest.approx(math.log(10) / 100)


def test_a_loss_of_ones_own_can_be_drawn():
    mine = Objective(log_ratio(0.1), LOSSES["square"], name="mine")
    assert curves(mine).curves[0].label == "a pair"
    assert of_loss(LOSSES["square"]).quantity == "z"


def test_a_parabola_that_does_not_fall_has_no_lowest_point():
    assert Shape(1.0, -1.0, 0.0).ratio is None and Shape(1.0, 1.0, 1.0).ratio is None
    assert Shape(1.0, -3.0, 1.5).ratio == 2.0


def test_a_cost_that_is_flat_at_0_does_not_fall_there():
    flat = satisfied(Curve("a pair", lambda x: 0 * x), 1.0)
    assert flat == Satisfied(None, "it does not fall at 0")


def test_a_derivative_leaves_its_points_as_they_were():
    x = torch.ones(2)
    assert derivative(torch.square, x).tolist() == [2, 2]
    assert not x.requires_grad


def test_nothing_is_minus_nothing():
    found = shape(lambda x: -(x**3))
    for number in (found.value, found.slope, found.curvature):
        assert math.copysign(1, number) == 1 and number == 0


def test_a_slope_that_is_a_parameter_has_no_curvature():
    slope = torch.nn.Parameter(torch.tensor(-2.0, dtype=torch.float64))
    assert shape(lambda x: slope * x) == Shape(0.0, -2.0, 0.0)


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_the_search_goes_as_far_as_the_scale_asks(scale):
    curve = Curve("a pair", lambda x: LOSSES["logistic"].phi(scale * x))
    assert satisfied(curve, scale).at == pytest.approx(TENTH / scale)


def test_a_mixture_and_a_loss_have_their_link_and_scale():
    x = torch.tensor([-1.0, 2.0], dtype=torch.float64)
    shown = curves(make_objective("mixture", {"beta": 0.5}))
    assert shown.scale == 0.5
    torch.testing.assert_close(shown.curves[0].probability(x), torch.sigmoid(0.5 * x))
    assert of_loss(LOSSES["hinge"]).scale == 1


def test_a_doubted_label_is_asked_about_the_other_margin_too():
    made = Objective(log_ratio(0.5), LOSSES["hinge"], labels=flipped(0.25), target_margin=0.5)
    x = torch.tensor([-2.0, 0.2, 2.0], dtype=torch.float64)
    expected = 0.75 * (1.5 - 0.5 * x).relu() + 0.25 * (1.5 + 0.5 * x).relu()
    torch.testing.assert_close(curves(made).curves[0].cost(x), expected)


def test_a_sum_is_drawn_over_the_score_of_its_first_part():
    dpo, simpo = make_objective("dpo", {}), make_objective("simpo", {})
    for first, second in ((dpo, simpo), (simpo, dpo)):
        shown = curves(WeightedSum(((1.0, first), (2.0, second))))
        assert shown.quantity == curves(first).quantity != curves(second).quantity
        assert second.name in shown.left_out


@pytest.mark.parametrize("name", ["kto", "mixture"])
def test_a_sum_without_a_margin_is_not_drawn(name):
    part = make_objective(name, {})
    with pytest.raises(LuceError, match="no functions of one margin"):
        curves(WeightedSum(((0.5, part), (0.5, part))))
