"""A world of strings over two tokens and an end, where every policy of three numbers is exact.

π_ref draws a and b with 0.45 each and ends with 0.1: 10 tokens on average, the end among them. The
annotator gives 0.5 for every a and 0.1 for every b. r_LM is the total, |y| r*; r* its mean per
token.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from scipy.stats import rankdata
from torch import Tensor

from luce.models.tabular import minimize
from luce.types import CostFunction, Pairs, Responses

REFERENCE = (0.45, 0.45, 0.1)
"""π_ref of a, b and the end."""
REWARDS = (0.5, 0.1, 0.0)
"""Of a, b and the end."""


@dataclass(frozen=True)
class Strings:
    """Pairs of strings from π_ref.

    Attributes:
        tokens: 0 for a, 1 for b, 2 for the end; string after string, the chosen ones first.
        lengths: tokens of each string, the end among them.
        counts: of a, b and the end in each.
    """

    tokens: Int[Tensor, " tokens"] = field(repr=False)
    lengths: Int[Tensor, " strings"] = field(repr=False)
    counts: Float[Tensor, "strings 3"] = field(repr=False)

    @property
    def total(self) -> Float[Tensor, " strings"]:
        """r_LM = |y| r*."""
        return self.counts @ torch.tensor(REWARDS, dtype=torch.float64)

    @property
    def mean(self) -> Float[Tensor, " strings"]:
        """r*, per token."""
        return self.total / self.lengths

    def pairs(
        self, log_p: Float[Tensor, " 3"], label: Float[Tensor, " pairs"] | None = None
    ) -> Pairs:
        """The first half of the strings against the second, under a policy with these tokens."""
        y = self.responses(log_p)
        half = len(self.lengths) // 2
        cut = int(self.lengths[:half].sum())
        assert y.reference is not None
        first = Responses(y.policy[:cut], self.lengths[:half], y.reference[:cut])
        second = Responses(y.policy[cut:], self.lengths[half:], y.reference[cut:])
        return Pairs(first, second, label)

    def responses(self, log_p: Float[Tensor, " 3"]) -> Responses:
        """Every string under a policy with these log-probabilities of its tokens."""
        reference = torch.tensor(REFERENCE, dtype=torch.float64).log()
        return Responses(log_p[self.tokens], self.lengths, reference[self.tokens])

    def labels(self, reward: Float[Tensor, " strings"], seed: int) -> Float[Tensor, " pairs"]:
        """Hard labels of a Luce annotator with this reward of every string."""
        first, second = reward.chunk(2)
        draw = torch.Generator().manual_seed(10_000 + seed)
        u = torch.rand(len(first), generator=draw, dtype=torch.float64)
        return (u < torch.sigmoid(first - second)).double()


def draw(pairs: int, seed: int) -> Strings:
    """So many pairs of strings from π_ref."""
    generator = torch.Generator().manual_seed(seed)
    end = REFERENCE[2]
    u = torch.rand(2 * pairs, generator=generator, dtype=torch.float64)
    lengths = ((u.log() / torch.tensor(1 - end).log()).floor() + 1).long()
    total = int(lengths.sum())
    tokens = torch.randint(0, 2, (total,), generator=generator)
    tokens[lengths.cumsum(0) - 1] = 2
    rows = torch.repeat_interleave(torch.arange(2 * pairs), lengths)
    counts = torch.zeros(2 * pairs, 3, dtype=torch.float64)
    counts.index_put_((rows, tokens), torch.ones(total, dtype=torch.float64), accumulate=True)
    return Strings(tokens, lengths, counts)


def fit(
    objective: CostFunction, strings: Strings, label: Float[Tensor, " pairs"]
) -> Float[Tensor, " 3"]:
    """log p of a, b and the end under the policy that the objective ends at, from π_ref on. Where
    there is no optimum the chance of the end goes to 0, as far as the digits allow."""

    def cost(logits: Tensor) -> Tensor:
        return objective(strings.pairs(logits.log_softmax(0), label)).mean()

    start = torch.tensor(REFERENCE, dtype=torch.float64).log()
    (logits,) = minimize(cost, [start], tolerance=None, steps=60, newton=0)
    return logits.log_softmax(0)


def fit_rewards(
    strings: Strings,
    label: Float[Tensor, " pairs"],
    objective: CostFunction,
    of: Callable[[Float[Tensor, " strings"]], Float[Tensor, " strings"]],
) -> Float[Tensor, " 2"]:
    """Rewards of a and b, the end's being 0, by a reward model that says `of` the total."""
    one_each = torch.ones_like(label, dtype=torch.int64)

    def cost(w: Tensor) -> Tensor:
        first, second = (
            Responses(torch.zeros_like(label), one_each, reward=reward)
            for reward in of(strings.counts[:, :2] @ w).chunk(2)
        )
        return objective(Pairs(first, second, label)).mean()

    (w,) = minimize(cost, [torch.zeros(2, dtype=torch.float64)], tolerance=None, steps=60, newton=0)
    return w


def spearman(a: Float[Tensor, " n"], b: Float[Tensor, " n"]) -> float:
    """Rank correlation."""
    ranks = [torch.from_numpy(rankdata(x.numpy())) for x in (a, b)]
    return torch.corrcoef(torch.stack(ranks))[0, 1].item()
