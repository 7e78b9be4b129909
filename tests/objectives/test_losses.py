import math

import pytest
import torch

from luce.errors import LuceError
from luce.objectives import LOSSES, MarginLoss
from luce.objectives.losses import bracket, hinge

E2 = math.exp(2)

PHI_AT_0_AND_2 = {
    "logistic": (math.log(2), math.log(1 + 1 / E2)),
    "hinge": (1, 0),
    "square": (1, 1),
    "exponential": (1, 1 / E2),
    "truncated_quadratic": (1, 0),
    "savage": (1 / 4, 1 / (1 + E2) ** 2),
}

# the z that minimizes 0.7 φ(z) + 0.3 φ(−z)
MINIMIZER_AT_0_7 = {
    "logistic": math.log(7 / 3),
    "hinge": 1.0,
    "square": 0.4,
    "exponential": math.log(7 / 3) / 2,
    "truncated_quadratic": 0.4,
    "savage": math.log(7 / 3),
}


def slope(loss: MarginLoss, z) -> torch.Tensor:
    z = torch.as_tensor(z, dtype=torch.float64).requires_grad_()
    return torch.autograd.grad(loss.phi(z).sum(), z)[0]


def test_every_loss_has_its_worked_numbers():
    assert LOSSES.keys() == PHI_AT_0_AND_2.keys() == MINIMIZER_AT_0_7.keys()


@pytest.mark.parametrize("name", LOSSES)
def test_values(name):
    phi = LOSSES[name].phi(torch.tensor([0.0, 2.0], dtype=torch.float64))
    torch.testing.assert_close(phi, torch.tensor(PHI_AT_0_AND_2[name], dtype=torch.float64))


@pytest.mark.parametrize("name", LOSSES)
def test_the_formula_is_the_function(name):
    """Each formula, read as Python, gives the same number."""
    code = LOSSES[name].formula("z").replace("−", "-").replace("²", "**2")
    code = code.replace("log σ(z)", "math.log(1/(1+math.exp(-z)))").replace("exp(", "E(")
    code = code.replace("math.E(", "math.exp(")
    for z in (-1.5, 0.3, 2.0):
        expected = LOSSES[name].phi(torch.tensor(z, dtype=torch.float64)).item()
        assert eval(code, {"E": math.exp, "math": math, "z": z}) == pytest.approx(expected)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_loss_falls_at_zero(loss):
    assert slope(loss, 0.0) < 0


@pytest.mark.parametrize("phi", [lambda z: torch.exp(z), lambda z: z**2, torch.zeros_like])
def test_a_loss_that_does_not_fall_at_zero_is_refused(phi):
    with pytest.raises(LuceError, match="does not fall at z = 0"):
        MarginLoss(phi, lambda z: f"φ({z})")


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_convexity_is_as_declared(loss):
    z = torch.linspace(-8, 8, 401, dtype=torch.float64)
    bends = loss.phi(z)[2:] - 2 * loss.phi(z)[1:-1] + loss.phi(z)[:-2]
    assert bool((bends >= -1e-12).all()) == loss.convex


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_the_tail_is_as_declared(loss):
    """Class I still pushes at z = 1.5, class II stops or pulls back."""
    assert bool(slope(loss, 1.5) < 0) == (loss.tail == "I")


@pytest.mark.parametrize("name", LOSSES)
def test_the_minimizer_has_the_sign_of_the_preference(name):
    """GPO, theorem 2: Bayes consistency, with the minimizers worked by hand."""
    z = torch.linspace(-3, 3, 600_001, dtype=torch.float64)
    risk = 0.7 * LOSSES[name].phi(z) + 0.3 * LOSSES[name].phi(-z)
    best = z[risk.argmin()].item()
    assert best == pytest.approx(MINIMIZER_AT_0_7[name], abs=2e-5)
    assert (best > 0) == LOSSES[name].bayes_consistent


@pytest.mark.parametrize("name", [n for n, loss in LOSSES.items() if loss.probability])
def test_probability_inverts_the_link(name):
    """The best margin for a pair preferred with probability η is the z with probability(z) = η."""
    z = torch.linspace(-0.9, 0.9, 7, dtype=torch.float64)
    eta = LOSSES[name].probability(z)
    torch.testing.assert_close(eta * slope(LOSSES[name], z), (1 - eta) * slope(LOSSES[name], -z))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("z", [-3000.0, -90.0, 90.0, 3000.0])
def test_value_and_slope_are_finite_at_large_margins(loss, z, dtype):
    z = torch.tensor(z, dtype=dtype, requires_grad=True)
    loss.phi(z).backward()
    assert loss.phi(z).isfinite() and z.grad.isfinite()


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


def test_the_hinge_has_its_kink_at_delta():
    assert hinge(0.25).phi(torch.tensor([0.0, 0.25, -1.0])).tolist() == [0.25, 0.0, 1.25]
    assert hinge(0.25).formula("z") == "max(0, 0.25 − z)"


def test_brackets_only_where_needed():
    assert bracket("−2·[a]") == "(−2·[a])"
    assert bracket("[a − b] − 1") == "([a − b] − 1)"
    assert bracket("[a − b]") == "[a − b]"
