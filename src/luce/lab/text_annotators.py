"""Annotators made of small language models, and a model that learns from what they prefer.

The protocol of Dumoulin et al. (2023, arXiv:2311.14115, section 5.2) at a size that one core can
train: `whole` has learnt sentences of all lengths, `short` and `long` come from it by learning
short and long ones only. Pairs are drawn from `whole`, judged, and `whole` is trained on them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from luce.lab.text_corpus import LONG, LONGEST, MADE, SHORT, Corpus, corpus, made_sentences
from luce.lab.text_model import Size, TextModel, Texts, batches, imitate
from luce.objectives import OBJECTIVES
from luce.objectives.mixture import Mixture
from luce.objectives.objective import Objective
from luce.objectives.presets import models, reference_free
from luce.types import Demonstrations, Pairs, Responses

SOURCE = "Dumoulin et al., arXiv:2311.14115"
FACTOR = float(LONGEST)
"""By which eq. 26 to 28 are multiplied: the authors' program has its longest text, 50 tokens."""
EQ_9, EQ_26 = "eq. 9", "eq. 26"
LUCE: dict[str, Objective] = {
    EQ_9: reference_free.luce(),
    EQ_26: reference_free.luce_length_normalized(scale=FACTOR),
}
"""Rule → the objective whose margin is log-odds under it."""
BOTH = models.mixture(K=2, beta=FACTOR, of="mean")
"""Eq. 27: one of two annotators judged, each by eq. 26."""
IMITATION = 4e-5
"""Weight of −log π of both texts of a pair beside the objective, as in the authors' program."""


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Attributes:
        width: of the models.
        whole, narrow: steps that `whole` learns, and that `short` and `long` learn from there.
        pairs: judged; each is seen once.
        batch: pairs of a step.
        rate: of adaptation; that of the end's bias is 100 times it.
        samples: that a model's lengths are counted on.
    """

    width: int = 64
    whole: int = 900
    narrow: int = 500
    pairs: int = 8192
    batch: int = 64
    rate: float = 1e-4
    samples: int = 4096


QUICK = Plan(width=32, whole=400, narrow=250, pairs=2048, batch=32, rate=2e-4, samples=1024)
"""Of a quick run."""


@dataclass(frozen=True)
class Start:
    """What every adaptation of a seed starts from.

    Attributes:
        models: `whole`, `short`, `long`.
        drawn: texts of `whole`: the first of every pair, then the second.
        responses: what each model gives to `drawn`.
    """

    plan: Plan
    seed: int
    models: dict[str, TextModel] = field(repr=False)
    drawn: Texts = field(repr=False)
    responses: dict[str, Responses] = field(repr=False)


@dataclass(frozen=True)
class Adapted:
    """A model after adaptation.

    Attributes:
        lengths: of its samples, tokens.
        before, after: cost of a pair, nats, over the first and the last sixteenth of the steps.
    """

    lengths: Int[Tensor, " samples"] = field(repr=False)
    before: float
    after: float


@cache
def built_in() -> Corpus:
    """The grammar's sentences."""
    return corpus(made_sentences(MADE, seed=0), "the built-in grammar")


@contextmanager
def one_thread() -> Iterator[None]:
    """Products this small gain nothing from a second thread, and lose where cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@lru_cache(maxsize=3)  # two experiments start from the same
def prepare(seed: int, plan: Plan, of: Corpus) -> Start:
    """Train the three models, draw the pairs, and read them by each."""
    size = Size(of.vocabulary, LONGEST, plan.width)
    texts, n = of.texts, of.texts.lengths
    whole = TextModel(size, seed)
    imitate(whole, texts, plan.whole, 3e-3, seed)
    trained = {"whole": whole, "short": whole.copy(), "long": whole.copy()}
    imitate(trained["short"], texts.take(n <= SHORT), plan.narrow, 1.5e-3, seed, end_times=20.0)
    imitate(trained["long"], texts.take(n >= LONG), plan.narrow, 1.5e-3, seed, end_times=20.0)
    drawn = whole.sample(2 * plan.pairs, torch.Generator().manual_seed(seed))
    responses = {name: model.all_responses(drawn) for name, model in trained.items()}
    return Start(plan, seed, trained, drawn, responses)


def in_pairs(y: Responses) -> Pairs:
    """The first half of the responses against the second."""
    half = torch.arange(len(y) // 2)
    return Pairs(y.take(half), y.take(half + len(half)))


def preferred(rule: Objective | Mixture, y: Responses) -> Float[Tensor, " pairs"]:
    """P(first ≻ second) of every pair."""
    return torch.sigmoid(rule.margin(in_pairs(y)))


def annotator_mixture(start: Start) -> Float[Tensor, " pairs"]:
    """Eq. 27: `short` judges half of the pairs and `long` the others, by eq. 26."""
    both = {"policy_2": start.responses["long"].policy}
    return preferred(BOTH, replace(start.responses["short"], columns=both))


def density_mixture(start: Start) -> Float[Tensor, " pairs"]:
    """Eq. 28: one annotator, whose p* is the mean of the two densities, judges by eq. 26."""
    return preferred(LUCE[EQ_26], mixed_density(start.responses["short"], start.responses["long"]))


def mixed_density(a: Responses, b: Responses) -> Responses:
    """(p_a + p_b)/2 of every text, its logarithm spread evenly over the tokens."""
    log_prob = torch.logaddexp(a.log_prob, b.log_prob) - torch.log(torch.tensor(2.0))
    return Responses((log_prob / a.length).repeat_interleave(a.lengths), a.lengths)


def adapt(start: Start, preference: Float[Tensor, " pairs"], objective: Objective) -> Adapted:
    """Draw a judgement of every pair, and train a copy of `whole` on them, one epoch of Adam."""
    plan, seed = start.plan, start.seed
    draw = torch.Generator().manual_seed(1000 + seed)
    label = torch.bernoulli(preference, generator=draw)
    model = start.models["whole"].copy()
    adam = torch.optim.Adam(model.groups(plan.rate, 100.0))
    imitation, costs = OBJECTIVES["nll"](), []
    for index in batches(plan.pairs, plan.batch, plan.pairs // plan.batch, seed):
        texts = start.drawn.take(torch.cat([index, index + plan.pairs]))
        y = model.responses(texts)
        cost = objective(replace(in_pairs(y), label=label[index])).mean()
        costs.append(cost.item())
        cost = cost + 2 * IMITATION * imitation(Demonstrations(y)).mean()
        adam.zero_grad()
        torch.autograd.backward(cost)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
    few = max(1, len(costs) // 16)
    lengths = model.sample(plan.samples, draw).lengths
    return Adapted(lengths, sum(costs[:few]) / few, sum(costs[-few:]) / few)
