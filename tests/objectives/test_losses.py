import math

import pytest
import torch
from plain_rows import LOG, E, nls, relu, sigma

from luce.errors import LuceError
from luce.objectives import LOSSES, MarginLoss
from luce.objectives.losses import blend, clipped_logistic, hinge


def clip(z, bound):
    return min(max(z, -bound), bound)


def blended(z, tau):
    m = sigma(z / tau)
    return (1 - m) * nls(z) + m * E(-z)


# name: (φ, how it is printed)
WORKED = {
    "logistic": (nls, "−log σ(z)"),
    "hinge": (lambda z: relu(1 - z), "max(0, 1 − z)"),
    "square": (lambda z: (1 - z) ** 2, "(1 − z)²"),
    "exponential": (lambda z: E(-z), "exp(−z)"),
    "truncated_quadratic": (lambda z: relu(1 - z) ** 2, "max(0, 1 − z)²"),
    "savage": (lambda z: 1 / (1 + E(z)) ** 2, "1/(1 + exp(z))²"),
    "linear": (lambda z: -z, "−z"),
    "sigmoid": (lambda z: sigma(-z), "σ(−z)"),
    "squared_error": (lambda z: z**2, "z²"),
    "blend": (
        lambda z: blended(z, 0.05),
        "(1 − m)·(−log σ(z)) + m·exp(−z), m = σ(z/0.05)",
    ),
    "clipped_logistic": (lambda z: nls(clip(z, 2)), "−log σ(clip(z, ±2))"),
}

# the z that minimizes 0.7 φ(z) + 0.3 φ(−z); None where it runs away, a tie where several do
MINIMIZER_AT_0_7 = {
    "logistic": LOG(7 / 3),
    "hinge": 1.0,
    "square": 0.4,
    "exponential": LOG(7 / 3) / 2,
    "truncated_quadratic": 0.4,
    "savage": LOG(7 / 3),
    "linear": None,
    "sigmoid": None,
    "squared_error": 0.0,
    "clipped_logistic": LOG(7 / 3),
}

PROBABILITY = {
    "logistic": (sigma, "σ(z)"),
    "square": (lambda z: clip(z, 1) / 2 + 0.5, "clip((1 + z)/2, 0, 1)"),
    "exponential": (lambda z: sigma(2 * z), "σ(2·z)"),
    "truncated_quadratic": (lambda z: clip(z, 1) / 2 + 0.5, "clip((1 + z)/2, 0, 1)"),
    "savage": (sigma, "σ(z)"),
    "clipped_logistic": (lambda z: sigma(clip(z, 2)), "σ(clip(z, ±2))"),
}
MARGINS = (-2.5, -1.5, -0.3, 0.0, 0.3, 0.9, 1.5, 2.5)
CONSISTENT = [name for name, loss in LOSSES.items() if loss.bayes_consistent]


def slope(loss: MarginLoss, z) -> torch.Tensor:
    z = torch.as_tensor(z, dtype=torch.float64).requires_grad_()
    return torch.autograd.grad(loss.phi(z).sum(), z)[0]


def test_every_loss_has_its_worked_numbers():
    assert LOSSES.keys() == WORKED.keys() == MINIMIZER_AT_0_7.keys() | {"blend"}
    assert {name for name, loss in LOSSES.items() if loss.probability} == PROBABILITY.keys()
    assert not LOSSES["blend"].bayes_consistent and not LOSSES["squared_error"].bayes_consistent


@pytest.mark.parametrize("name", LOSSES)
def test_values_slopes_and_formula(name):
    loss, (phi, text) = LOSSES[name], WORKED[name]
    at = torch.tensor(MARGINS, dtype=torch.float64)
    assert loss.phi(at).tolist() == pytest.approx([phi(z) for z in MARGINS], rel=1e-12, abs=1e-15)
    smooth = [z for z in MARGINS if abs(z) not in (1.0, 2.0)]
    by_hand = [(phi(z + 1e-6) - phi(z - 1e-6)) / 2e-6 for z in smooth]
    assert slope(loss, smooth).tolist() == pytest.approx(by_hand, abs=2e-9, rel=1e-7)
    assert loss.formula("z") == text


@pytest.mark.parametrize(
    ("made", "phi", "text"),
    [
        (hinge(0.25), lambda z: relu(0.25 - z), "max(0, 0.25 − z)"),
        (hinge(), lambda z: relu(1 - z), "max(0, 1 − z)"),
        (
            blend(0.5),
            lambda z: blended(z, 0.5),
            "(1 − m)·(−log σ(z)) + m·exp(−z), m = σ(z/0.5)",
        ),
        (blend(), lambda z: blended(z, 0.05), WORKED["blend"][1]),
        (clipped_logistic(0.4), lambda z: nls(clip(z, 0.4)), "−log σ(clip(z, ±0.4))"),
        (clipped_logistic(), lambda z: nls(clip(z, 2)), "−log σ(clip(z, ±2))"),
    ],
)
def test_losses_with_a_parameter(made, phi, text):
    found = made.phi(torch.tensor(MARGINS, dtype=torch.float64)).tolist()
    assert found == pytest.approx([phi(z) for z in MARGINS], rel=1e-12)
    assert made.formula("z") == text


SUMS = {
    "hinge": "max(0, 1 − (a − 1))",
    "square": "(1 − (a − 1))²",
    "exponential": "exp(−(a − 1))",
    "truncated_quadratic": "max(0, 1 − (a − 1))²",
    "linear": "1 − a",
    "sigmoid": "σ(1 − a)",
    "squared_error": "(a − 1)²",
    "blend": "(1 − m)·(−log σ(a − 1)) + m·exp(−(a − 1)), m = σ((a − 1)/0.05)",
}


@pytest.mark.parametrize("name", SUMS)
def test_a_margin_that_is_a_sum_is_bracketed(name):
    assert LOSSES[name].formula("a − 1") == SUMS[name]


@pytest.mark.parametrize("name", CONSISTENT)
def test_a_loss_falls_at_zero(name):
    assert slope(LOSSES[name], 0.0) < 0


def test_discopop_rises_at_zero():
    assert slope(LOSSES["blend"], 0.0) > 0


@pytest.mark.parametrize("phi", [lambda z: torch.exp(z), lambda z: z**2, torch.zeros_like])
def test_a_loss_that_does_not_fall_at_zero_is_refused_unless_it_is_meant(phi):
    with pytest.raises(LuceError, match=r"^φ\(z\) does not fall at z = 0, .*Is its sign reversed"):
        MarginLoss(phi, lambda z: f"φ({z})")
    assert MarginLoss(phi, lambda z: f"φ({z})", bayes_consistent=False).phi is phi


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_convexity_is_as_declared(loss):
    z = torch.linspace(-8, 8, 401, dtype=torch.float64)
    bends = loss.phi(z)[2:] - 2 * loss.phi(z)[1:-1] + loss.phi(z)[:-2]
    assert bool((bends >= -1e-12).all()) == loss.convex


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_the_tail_is_as_declared(loss):
    """Class I still pushes at every large margin, class II stops or pulls back."""
    assert bool(slope(loss, 2.5) < 0) == (loss.tail == "I")
    assert bool(slope(loss, 20.0) < 0) == (loss.tail == "I")


@pytest.mark.parametrize("name", MINIMIZER_AT_0_7)
def test_the_minimizer_has_the_sign_of_the_preference(name):
    """GPO, theorem 2: Bayes consistency, with the minimizers worked by hand."""
    z = torch.linspace(-3, 3, 600_001, dtype=torch.float64)
    risk = 0.7 * LOSSES[name].phi(z) + 0.3 * LOSSES[name].phi(-z)
    best = z[risk.argmin()].item()
    expected = MINIMIZER_AT_0_7[name]
    assert best == pytest.approx(3.0 if expected is None else expected, abs=2e-5)
    assert (best > 1e-4) == LOSSES[name].bayes_consistent


@pytest.mark.parametrize("name", PROBABILITY)
def test_probability_inverts_the_link(name):
    """The best margin for a pair preferred with probability η is the z with probability(z) = η."""
    loss, (probability, text) = LOSSES[name], PROBABILITY[name]
    assert loss.probability is not None and loss.link == text
    found = loss.probability(torch.tensor(MARGINS, dtype=torch.float64)).tolist()
    assert found == pytest.approx([probability(z) for z in MARGINS])
    z = torch.linspace(-0.9, 0.9, 7, dtype=torch.float64)
    eta = loss.probability(z)
    torch.testing.assert_close(eta * slope(loss, z), (1 - eta) * slope(loss, -z))


@pytest.mark.parametrize("name", sorted(LOSSES.keys() - PROBABILITY.keys()))
def test_a_loss_without_a_link_prints_none(name):
    assert LOSSES[name].link == "" and LOSSES[name].probability is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("z", [-3000.0, -90.0, 90.0, 3000.0])
def test_value_and_slope_are_finite_at_large_margins(loss, z, dtype):
    z = torch.tensor(z, dtype=dtype, requires_grad=True)
    (push,) = torch.autograd.grad(loss.phi(z), z)
    assert loss.phi(z).isfinite() and push.isfinite()


def test_the_exponential_is_exact_where_float32_holds_it_and_a_tangent_beyond():
    phi = LOSSES["exponential"].phi
    assert phi(torch.tensor(-80.0)).item() == pytest.approx(math.exp(80), rel=1e-5)
    assert phi(torch.tensor(-90.0, dtype=torch.float64)).item() == pytest.approx(math.exp(90))
    limit = math.log(torch.finfo(torch.float32).max) - 8
    value, further = phi(torch.tensor([-limit, -limit - 1])).tolist()
    assert further == pytest.approx(2 * value, rel=1e-5)
    z = torch.tensor([-limit, -limit - 1, -limit - 50], requires_grad=True)
    slopes = torch.autograd.grad(phi(z).sum(), z)[0]
    torch.testing.assert_close(slopes, slopes[:1].expand(3))
