"""What the second-order term of GPO's losses keeps small, and when that is not the KL divergence.

[GPO] Tang et al. (2024), arXiv:2402.05749.
"""

import math

import pytest
import torch

from luce.models.tabular import Outcomes, TabularPolicy, actions, divergence_of_pairs, grid

SPACE = actions(4)
REFERENCE = SPACE.weights([0.1, 0.2, 0.3, 0.4])
PI = SPACE.weights([0.5, 0.25, 0.15, 0.1])


def by_pairs(pi: TabularPolicy, reference: TabularPolicy, mu: TabularPolicy) -> torch.Tensor:
    """½ E[ρ²], pair by pair."""
    ratio = pi.log_prob - reference.log_prob
    rho = ratio[:, None] - ratio
    return 0.5 * (torch.outer(mu.probability, mu.probability) * rho**2).sum()


@pytest.mark.parametrize("mu", [PI, REFERENCE, SPACE.uniform()])
def test_the_mean_square_over_pairs_is_the_variance_of_the_log_ratio(mu):
    """[GPO, eq. 6] for pairs drawn independently; with μ = π it is the log-variance divergence of
    VarGrad [GPO, B.1; Richter et al., 2020]."""
    found = divergence_of_pairs(PI, REFERENCE, mu)
    torch.testing.assert_close(found, by_pairs(PI, REFERENCE, mu))
    ratio = PI.log_prob - REFERENCE.log_prob
    mean = mu.expectation(ratio)
    torch.testing.assert_close(found, mu.expectation(ratio**2) - mean**2)


@pytest.mark.parametrize("seed", range(3))
def test_half_the_gradient_of_the_variance_is_that_of_the_divergence(seed):
    """[GPO, eq. 8]: ∇ KL(π ‖ π_ref) = ½ ∇ L_μ = ¼ ∇ E[ρ²], where μ = π is held fixed."""
    logits = torch.randn(4, generator=torch.Generator().manual_seed(seed)).double()
    logits.requires_grad_()
    pi = SPACE.normalize(logits)
    mu = SPACE.normalize(logits.detach())
    (of_kl,) = torch.autograd.grad(pi.kl(REFERENCE), logits, retain_graph=True)
    (of_pairs,) = torch.autograd.grad(
        divergence_of_pairs(pi, REFERENCE, mu), logits, retain_graph=True
    )
    torch.testing.assert_close(of_kl, of_pairs / 2, atol=1e-12, rtol=0)
    (moving,) = torch.autograd.grad(divergence_of_pairs(pi, REFERENCE, pi), logits)
    assert (of_kl - moving / 2).abs().max() > 1e-2  # with μ moving along it is another gradient


def test_off_the_policy_the_gradient_is_another():
    """[GPO, section 4.3]: offline, with μ ≠ π, the losses do not follow the KL divergence."""
    logits = PI.log_prob.clone().requires_grad_()
    pi = SPACE.normalize(logits)
    (of_kl,) = torch.autograd.grad(pi.kl(REFERENCE), logits, retain_graph=True)
    (of_pairs,) = torch.autograd.grad(divergence_of_pairs(pi, REFERENCE, REFERENCE), logits)
    assert (of_kl - of_pairs / 2).abs().max() > 0.05


def humps(
    space: Outcomes, means: tuple[float, ...], sd: float, shares: tuple[float, ...]
) -> TabularPolicy:
    x = space.points
    parts = [-0.5 * ((x - m) / sd) ** 2 + math.log(w) for m, w in zip(means, shares, strict=True)]
    return space.normalize(torch.logsumexp(torch.stack(parts), 0))


def test_the_variance_can_vanish_where_the_divergence_grows():
    """[GPO, figure 4]: three humps moved by c. Where data lies, the policy moved by a whole period
    is a multiple of the reference, so that ρ = 0 there; but one of its humps is where the reference
    has none."""
    space = grid(-40.0, 40.0, 8001)
    reference = humps(space, (-6.0, 0.0, 6.0), 1.0, (1.0, 1.0, 1.0))
    mu = humps(space, (0.0, 3.0, 6.0), 0.5, (0.4, 0.2, 0.4))

    def moved(c: float) -> tuple[float, float]:
        pi = humps(space, (c - 6, c, c + 6), 1.0, (1.0, 1.0, 1.0))
        return divergence_of_pairs(pi, reference, mu).item(), pi.kl(reference).item()

    assert moved(0.0) == pytest.approx((0.0, 0.0), abs=1e-12)
    assert moved(3.0) == pytest.approx((6.740, 2.839), abs=5e-4)
    assert moved(6.0) == pytest.approx((5.9e-9, 6.0013), abs=5e-5)
    assert moved(6.0)[0] == pytest.approx(5.9e-9, rel=0.01)
    way = [moved(c) for c in (3.0, 4.0, 5.0, 6.0)]
    assert all(later[0] < now[0] for now, later in zip(way, way[1:], strict=False))
    assert all(later[1] > now[1] for now, later in zip(way, way[1:], strict=False))
