"""Mixtures of three Gaussians on the line: a policy that is the reference moved by c, its KL
divergence from the reference, and its μ-weighted squared loss, both by quadrature."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from luce.models.tabular import TabularPolicy, divergence_of_pairs, grid

SPACE = grid(-30.0, 30.0, 601)


@dataclass(frozen=True)
class Humps:
    """A mixture of Gaussians of one width.

    Attributes:
        means: of each.
        sd: of all.
        shares: of each, up to a factor.
    """

    means: tuple[float, ...]
    sd: float = 1.0
    shares: tuple[float, ...] = (1.0, 1.0, 1.0)

    def log_prob(self, x: Float[Tensor, "*points"]) -> Float[Tensor, "*points"]:
        """The log-density."""
        means, shares = (torch.tensor(v, dtype=torch.float64) for v in (self.means, self.shares))
        parts = torch.distributions.Normal(means, self.sd).log_prob(x.unsqueeze(-1))
        return torch.logsumexp(parts + (shares / shares.sum()).log(), -1)

    def on_grid(self) -> TabularPolicy:
        """The density at the points of `SPACE`."""
        assert SPACE.points is not None  # it is a grid
        return SPACE.normalize(self.log_prob(SPACE.points))

    def draw(self, n: int, seed: int) -> Float[Tensor, " n"]:
        """n points."""
        generator = torch.Generator().manual_seed(seed)
        which = torch.multinomial(torch.tensor(self.shares), n, True, generator=generator)
        noise = torch.randn(n, generator=generator, dtype=torch.float64)
        return torch.tensor(self.means, dtype=torch.float64)[which] + self.sd * noise


@dataclass(frozen=True)
class World:
    """A reference and where pairs of data come from.

    Attributes:
        reference: π_ref; the policy is π_c(x) = π_ref(x − c).
        data: μ.
    """

    reference: Humps
    data: Humps

    def curves(
        self, shifts: Float[Tensor, " shifts"]
    ) -> tuple[Float[Tensor, " shifts"], Float[Tensor, " shifts"]]:
        """(½ E_μ[ρ²], KL(π_c ‖ π_ref)) at each c, in nats² and nats, differentiable in c. The first
        is the variance of log π_c/π_ref under μ."""
        assert SPACE.points is not None  # it is a grid
        x = SPACE.points
        # under π_c, x = c + y with y drawn from π_ref
        start = self.reference.on_grid().probability
        moved = x + shifts[:, None]
        ratio = self.reference.log_prob(x) - self.reference.log_prob(moved)
        mu = self.data.on_grid().probability
        seen = self.reference.log_prob(x - shifts[:, None]) - self.reference.log_prob(x)
        centred = seen - (mu * seen).sum(1, keepdim=True)
        return (mu * centred**2).sum(1), (start * ratio).sum(1)

    def estimated(self, shift: float, n: int, seed: int) -> tuple[float, float]:
        """Both from n samples, as the paper has them."""
        x, y = self.data.draw(n, seed), self.reference.draw(n, seed + 10_000)
        seen = self.reference.log_prob(x - shift) - self.reference.log_prob(x)
        ratio = self.reference.log_prob(y) - self.reference.log_prob(y + shift)
        return seen.var().item(), ratio.mean().item()

    def on_policy_ratio(self, shift: float) -> float:
        """d/dc E_{π}[ρ²] with π held fixed where pairs are drawn, over d/dc KL(π_c ‖ π_ref)."""
        assert SPACE.points is not None  # it is a grid
        c = torch.tensor(shift, dtype=torch.float64, requires_grad=True)
        policy = SPACE.normalize(self.reference.log_prob(SPACE.points - c))
        held = TabularPolicy(SPACE, policy.log_prob.detach())
        pairs = 2 * divergence_of_pairs(policy, self.reference.on_grid(), held)
        (of_pairs,) = torch.autograd.grad(pairs, c, retain_graph=True)
        (of_kl,) = torch.autograd.grad(policy.kl(self.reference.on_grid()), c)
        return (of_pairs / of_kl).item()


def descend(world: World, starts: Sequence[float], on_kl: bool) -> Float[Tensor, " starts"]:
    """Where gradient descent on one of the two curves ends, from each start."""
    c = torch.tensor(list(starts), dtype=torch.float64)
    for _ in range(300):
        c = c.detach().requires_grad_()
        (slope,) = torch.autograd.grad(world.curves(c)[int(on_kl)].sum(), c)
        c = c - 0.05 * slope
    return c.detach()


def remote_minima(
    values: Float[Tensor, " shifts"], shifts: Float[Tensor, " shifts"]
) -> list[float]:
    """Shifts further than 0.3 from 0 at which a curve has a local minimum."""
    inner = (values[1:-1] < values[:-2]) & (values[1:-1] < values[2:])
    return [c for c in shifts[1:-1][inner].tolist() if abs(c) > 0.3]


def drawn(seed: int) -> World:
    """Reference and data with means uniform between −5 and 5, all of width 1."""
    generator = torch.Generator().manual_seed(seed)
    means = (10 * torch.rand(6, generator=generator, dtype=torch.float64) - 5).tolist()
    return World(Humps(tuple(means[:3])), Humps(tuple(means[3:])))
