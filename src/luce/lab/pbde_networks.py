"""Energy-based models as the paper trains them: small networks on a line, many side by side.

Four hidden layers of 64 tanh units and Adam with a cosine to 0 (Dumoulin et al., 2023,
arXiv:2311.14115, table 1). Every run is full-batch; its objective is one of `luce.objectives`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from luce.lab.pbde_world import Judged, World, judge
from luce.models.tabular import Outcomes, TabularPolicy
from luce.objectives import OBJECTIVES
from luce.types import CostFunction, Demonstrations, Pairs, Responses

WIDTHS = (1, 64, 64, 64, 64, 1)


@dataclass(frozen=True)
class Setting:
    """How large a run is.

    Attributes:
        points: of the grid.
        pairs: judged.
        steps, rate: of Adam.
        regression: steps of the pre-training by least squares on log π_pre, at a rate of 0.001.
    """

    points: int
    pairs: int
    steps: int
    rate: float
    regression: int


FULL = Setting(points=201, pairs=2**15, steps=8192, rate=5e-4, regression=4096)
"""As published."""
QUICK = Setting(points=81, pairs=2**15, steps=1300, rate=4e-3, regression=1000)
"""Less exact: what is learnt is smoother than at the published size."""


def setting(quick: bool) -> Setting:
    """The size of a run."""
    return QUICK if quick else FULL


@dataclass(frozen=True)
class Arm:
    """One thing to learn from one annotator.

    Attributes:
        label: in figures and tables.
        objective: of pairs.
        preference: P(i ≻ j) of the annotator.
        proposal: both points of a pair are drawn from it; None for π_pre.
        lam: weight of −E_{π_pre}[log π] beside the objective.
        afresh: start from random weights, not from π_pre.
        pairs: judged, if not as many as the setting says.
    """

    label: str
    objective: CostFunction
    preference: Float[Tensor, "n n"] = field(repr=False)
    proposal: TabularPolicy | None = field(default=None, repr=False)
    lam: float = 0.0
    afresh: bool = False
    pairs: int | None = None


@dataclass(frozen=True)
class Learnt:
    """What one run ended with.

    Attributes:
        policy: exp(energy)/Z.
        energy: what the network says, which is a reward model's reward.
    """

    policy: TabularPolicy
    energy: Float[Tensor, " points"] = field(repr=False)


class Networks:
    """Equal networks of one number each, every one with its own weights."""

    def __init__(self, space: Outcomes, seeds: Sequence[int]) -> None:
        assert space.points is not None
        self.points = space.points.float().reshape(1, -1, 1)
        self.log_measure = space.measure.log().float()
        self.weights, self.biases = [], []
        draws = [torch.Generator().manual_seed(seed) for seed in seeds]
        for fan_in, fan_out in zip(WIDTHS, WIDTHS[1:], strict=False):
            drawn = [torch.randn(fan_in, fan_out, generator=g) for g in draws]
            self.weights.append((torch.stack(drawn) / fan_in**0.5).requires_grad_())
            self.biases.append(torch.zeros(len(draws), 1, fan_out, requires_grad=True))

    @property
    def parameters(self) -> list[Tensor]:
        """All of them."""
        return [*self.weights, *self.biases]

    def energies(self) -> Float[Tensor, "runs points"]:
        """What each network says of each point."""
        x = self.points.expand(len(self.weights[0]), -1, -1)
        for number, (w, b) in enumerate(zip(self.weights, self.biases, strict=True), start=2):
            x = torch.baddbmm(b, x, w)
            x = torch.tanh(x) if number < len(WIDTHS) else x
        return x.squeeze(-1)

    def normalize(self, energies: Float[Tensor, "runs points"]) -> Float[Tensor, "runs points"]:
        """log π of each."""
        return energies - torch.logsumexp(energies + self.log_measure, 1, keepdim=True)

    def take(self, runs: Sequence[int], noise: float = 0.0, seed: int = 0) -> "Networks":
        """Copies of these networks, with normal noise on their weights."""
        copied = object.__new__(Networks)
        copied.points, copied.log_measure = self.points, self.log_measure
        draw = torch.Generator().manual_seed(seed)
        where = torch.tensor(list(runs))

        def copy(x: Tensor) -> Tensor:
            chosen = x.detach()[where]
            return (chosen + noise * torch.randn(chosen.shape, generator=draw)).requires_grad_()

        copied.weights = [copy(w) for w in self.weights]
        copied.biases = [copy(b) for b in self.biases]
        return copied


def descend(
    parameters: Sequence[Tensor], cost: Callable[[], Float[Tensor, ""]], steps: int, rate: float
) -> None:
    """Adam, its rate a cosine from `rate` to 0."""
    adam = torch.optim.Adam(list(parameters), lr=rate, foreach=True)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for _ in range(steps):
        adam.zero_grad()
        torch.autograd.backward(cost())
        adam.step()
        cosine.step()


def pretrained(world: World, size: Setting, seeds: int) -> Networks:
    """Networks, one a seed, that π_pre was taught to by least squares on its log-density."""
    networks = Networks(world.space, range(seeds))
    goal = world.pretrained.log_prob.float()

    def cost() -> Tensor:
        return ((networks.energies() - goal) ** 2).mean(1).sum()

    descend(networks.parameters, cost, size.regression, 1e-3)
    return networks


def learn(arms: Sequence[Arm], world: World, size: Setting, seeds: int) -> list[list[Learnt]]:
    """Every arm over every seed, all networks side by side; arm by arm, seed by seed.

    The runs of one seed share the network they start from, but not its judgements.
    """
    start = pretrained(world, size, seeds)
    reference = start.normalize(start.energies().detach())
    networks = start.take([s for _ in arms for s in range(seeds)])
    fresh = Networks(world.space, [1000 + s for s in range(seeds)]).take(
        [s for _ in arms for s in range(seeds)]
    )
    for number, arm in enumerate(arms):
        if arm.afresh:
            rows = slice(number * seeds, (number + 1) * seeds)
            for to, others in zip(networks.parameters, fresh.parameters, strict=True):
                to.data[rows] = others.data[rows]
    batches = [_Batch(arm, world, size, reference, number) for number, arm in enumerate(arms)]

    def cost() -> Tensor:
        energies = networks.energies()
        log_prob = networks.normalize(energies)
        parts = [
            batch.cost(energies[i * seeds : (i + 1) * seeds], log_prob[i * seeds : (i + 1) * seeds])
            for i, batch in enumerate(batches)
        ]
        return torch.stack(parts).sum()

    descend(networks.parameters, cost, size.steps, size.rate)
    ended = networks.energies().detach().double()
    found = [Learnt(world.space.normalize(energy), energy) for energy in ended]
    return [found[i * seeds : (i + 1) * seeds] for i in range(len(arms))]


class _Batch:
    """All judgements of an arm, seed after seed, as its objective takes them."""

    def __init__(
        self, arm: Arm, world: World, size: Setting, reference: Tensor, number: int
    ) -> None:
        self.arm = arm
        self.pre = world.pretrained.probability.float()
        proposal = arm.proposal or world.pretrained
        judged = [
            judge(arm.preference, proposal, arm.pairs or size.pairs, 100 * number + s)
            for s in range(len(reference))
        ]
        self.a, self.b = in_runs(judged, world)
        self.share = torch.cat([of.share for of in judged]).float()
        self.weight = torch.cat([of.weight for of in judged]).float()
        self.lengths = torch.ones_like(self.a)
        flat = reference.flatten()
        self.reference = flat[self.a], flat[self.b]

    def cost(self, energies: Tensor, log_prob: Tensor) -> Tensor:
        policy, reward = log_prob.flatten(), energies.flatten()
        a, b = (
            Responses(policy[i], self.lengths, ref, reward=reward[i])
            for i, ref in zip((self.a, self.b), self.reference, strict=True)
        )
        found = (self.weight * self.arm.objective(Pairs(a, b, self.share))).sum()
        if not self.arm.lam:
            return found
        every = Responses(policy, torch.ones(len(policy), dtype=torch.int64))
        imitation = OBJECTIVES["nll"]()(Demonstrations(every)).reshape(log_prob.shape)
        return found + self.arm.lam * (self.pre * imitation).sum()


def in_runs(judged: Sequence[Judged], world: World) -> tuple[Tensor, Tensor]:
    """Where both points of every judged pair lie in a table of runs × points, laid out flat."""
    n = len(world.space)
    return (
        torch.cat([of.a + i * n for i, of in enumerate(judged)]),
        torch.cat([of.b + i * n for i, of in enumerate(judged)]),
    )
