"""A small language model on the built-in world: imitates demonstrations, is asked for pairs that an
annotator with the world's taste judges, and is then trained on them by any objective, while its KL
divergence, its loss on the data and its gold reward are looked at."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from luce.annotate import draw, luce_choice
from luce.data.pack import pack
from luce.data.template import Renderer
from luce.data.worlds.tasks import Habits, Tasks, demonstrate, gold, taste
from luce.models.engine import Sample, SamplingSettings, generate
from luce.models.policy import CausalPolicy
from luce.models.tiny import Shape, new_model, new_tokenizer
from luce.numerics import segment_sum
from luce.objectives import OBJECTIVES
from luce.train.learners import PolicyLearner
from luce.train.settings import TrainSettings
from luce.train.trainer import Trainer
from luce.types import Branch, Comparison, CostFunction, Demonstration, Group, Place, Responses

PLACE = Place("lab", 0)


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Attributes:
        demonstrations: that the first policy imitates, one epoch.
        prompts: that it answers, four times each: two pairs.
        held_out: prompts that every look samples on, once each.
        pairs_looked_at: pairs that the squared loss is taken over.
        steps, batch: of training on pairs, and pairs in each.
        rate: its learning rate, constant.
        temperature: of the annotator, in units of gold reward.
        shape, vocabulary: of the model.
        longest: response, tokens; a longer one is cut.
    """

    demonstrations: int = 4_000
    prompts: int = 400
    held_out: int = 64
    pairs_looked_at: int = 128
    steps: int = 48
    batch: int = 16
    rate: float = 3e-4
    temperature: float = 0.1
    shape: Shape = Shape(hidden=64, layers=2, heads=2, max_positions=256)
    vocabulary: int = 512
    longest: int = 40


QUICK = Plan(demonstrations=1_200, prompts=150, held_out=32, pairs_looked_at=64, batch=8)
"""Of a quick run."""
FEW = ("logistic", "square", "exponential")
"""Losses of a quick run."""


@dataclass(frozen=True)
class Start:
    """What every run of a seed starts from.

    Attributes:
        policy: after imitation; the reference. It is copied, not trained further.
        pairs: groups, the preferred response first.
        reference: log π_ref of each pair's tokens, by group id.
        held_out: prompts for looking.
        plan, seed, renderer: what they were made with.
    """

    plan: Plan
    seed: int
    policy: CausalPolicy
    renderer: Renderer
    pairs: tuple[Group, ...]
    reference: Mapping[str, Tensor]
    held_out: tuple[str, ...]


@dataclass(frozen=True)
class Look:
    """A policy in training.

    Attributes:
        step: of training.
        kl: KL(π ‖ π_ref) of responses of up to `Plan.longest` tokens, nats: mean over samples of
            π of the sum over tokens of the exact KL over the vocabulary.
        squared: ½ E[ρ²] over pairs of the data, nats².
        rewards: gold, of each sample.
    """

    step: int
    kl: float
    squared: float
    rewards: Float[Tensor, " samples"]


class _Known:
    """A policy in training beside what the reference gives the pairs."""

    def __init__(self, policy: CausalPolicy, reference: Mapping[str, Tensor]) -> None:
        self.policy, self.reference = policy, reference

    def trainable(self) -> Mapping[str, nn.Parameter]:
        return self.policy.trainable()

    def respond(self, groups: Sequence[Group]) -> Responses:
        packed = pack(groups)
        reference = torch.cat([self.reference[g.id] for g in groups])
        return Responses(self.policy.log_probs(packed), packed.lengths, reference)


def prepare(seed: int, plan: Plan) -> Start:
    """Imitation, samples, judgements."""
    world = Tasks(seed)
    prompts = world.prompts(plan.demonstrations + plan.prompts)
    shown, asked = prompts[: plan.demonstrations], prompts[plan.demonstrations :]
    texts = demonstrate(shown, Habits(), seed)
    corpus = (f"{p}\n{t}" for p, t in zip(shown, texts, strict=True))
    tokenizer = new_tokenizer(corpus, plan.vocabulary)
    policy = CausalPolicy(new_model(tokenizer, plan.shape, seed=seed), tokenizer, "new model")
    renderer = Renderer(tokenizer)
    rows = [
        renderer.group(Demonstration(prompt=p, place=PLACE, id=str(i), completion=t))
        for i, (p, t) in enumerate(zip(shown, texts, strict=True))
    ]
    settings = TrainSettings(learning_rate=3e-3, warmup_ratio=0.05, adam_beta2=0.95, seed=seed)
    for _ in Trainer(PolicyLearner(policy, None), OBJECTIVES["sft"](), rows, settings).steps():
        pass
    policy.module.eval()
    pairs = _judged(policy, renderer, asked, plan, seed)
    with torch.no_grad():
        reference = {g.id: policy.log_probs(pack([g])) for g in pairs}
    held_out = tuple(world.prompts(plan.held_out, split="heldout"))
    return Start(plan, seed, policy, renderer, tuple(pairs), reference, held_out)


def _sampled(
    policy: CausalPolicy,
    renderer: Renderer,
    prompts: Sequence[str],
    n: int,
    longest: int,
    seed: int,
) -> list[list[Sample]]:
    return generate(
        policy,
        [renderer.prompt_ids(prompt) for prompt in prompts],
        n,
        SamplingSettings(max_new_tokens=longest),
        seed=seed,
        stop_ids=(renderer.terminator,),
    )


def _group(renderer: Renderer, name: str, prompt: str, responses: Sequence[Sample]) -> Group:
    branches = tuple(
        Branch(np.asarray(s.ids, dtype=np.int32), np.ones(len(s.ids), dtype=bool))
        for s in responses
    )
    ids = np.asarray(renderer.prompt_ids(prompt), dtype=np.int32)
    return Group(ids, branches, name, PLACE)


def _judged(
    policy: CausalPolicy, renderer: Renderer, prompts: Sequence[str], plan: Plan, seed: int
) -> list[Group]:
    """Four samples of each prompt as two pairs; what did not end, and equal ones, make none."""
    found = []
    for number, (prompt, drawn) in enumerate(
        zip(prompts, _sampled(policy, renderer, prompts, 4, plan.longest, seed), strict=True)
    ):
        ended = list({s.ids: s for s in drawn if s.ended}.values())
        found += [
            (f"{number}-{k}", prompt, a, b)
            for k, (a, b) in enumerate(zip(ended[::2], ended[1::2], strict=False))
        ]
    asked = [
        Comparison(prompt, renderer.response_text(a.ids), renderer.response_text(b.ids))
        for _, prompt, a, b in found
    ]
    wins = draw(luce_choice(taste(), plan.temperature), asked, seed)
    return [
        _group(renderer, name, prompt, (a, b) if first else (b, a))
        for (name, prompt, a, b), first in zip(found, wins, strict=True)
    ]


def trained(start: Start, objective: CostFunction, looks: Sequence[int]) -> list[Look]:
    """Train a copy on the pairs and look at it after those steps; the last is the end."""
    plan = start.plan
    policy = copy.copy(start.policy)
    policy.module = copy.deepcopy(start.policy.module)
    settings = TrainSettings(
        learning_rate=plan.rate,
        batch_size=plan.batch,
        lr_scheduler_type="constant",
        warmup_ratio=0.0,
        max_steps=plan.steps,
        seed=start.seed,
    )
    trainer = Trainer(_Known(policy, start.reference), objective, start.pairs, settings)
    return [look(start, policy, trainer.step) for _ in trainer.steps() if trainer.step in looks]


@torch.no_grad()
def look(start: Start, policy: CausalPolicy, step: int) -> Look:
    """Sample on the held-out prompts and measure."""
    plan = start.plan
    drawn = _sampled(policy, start.renderer, start.held_out, 1, plan.longest, start.seed)
    groups = [
        _group(start.renderer, str(i), prompt, samples)
        for i, (prompt, samples) in enumerate(zip(start.held_out, drawn, strict=True))
    ]
    packed = pack(groups)
    # π_ref reads the samples of π, and is compared with π: KL(π ‖ π_ref) at each token
    of_tokens = start.policy.respond(packed, ("kl",), policy)[1]["kl"]
    kl = segment_sum(of_tokens, packed.lengths).mean().item()
    pairs = list(start.pairs[: plan.pairs_looked_at])
    rows = pack(pairs)
    reference = torch.cat([start.reference[g.id] for g in pairs])
    ratio = segment_sum(policy.log_probs(rows) - reference, rows.lengths)
    squared = 0.5 * ((ratio[::2] - ratio[1::2]) ** 2).mean().item()
    rewards = [
        gold(prompt, start.renderer.response_text(s.ids)).total
        for prompt, (s,) in zip(start.held_out, drawn, strict=True)
    ]
    return Look(step, kl, squared, torch.tensor(rewards, dtype=torch.float64))


def traces(
    seeds: int,
    plan: Plan,
    losses: Mapping[str, str],
    betas: Sequence[float],
    looks: Sequence[int],
) -> tuple[list[Look], dict[tuple[int, str, float], list[Look]]]:
    """The first policy of each seed, and (seed, loss, β) → what was seen in training from it.

    Products this small gain nothing from a second thread, and where other programs keep the cores
    busy the threads wait for each other.
    """
    first, found = [], {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for seed in range(seeds):
            start = prepare(seed, plan)
            first.append(look(start, start.policy, 0))
            for name, objective in losses.items():
                for beta in betas:
                    made = OBJECTIVES[objective](beta=beta)
                    found[seed, name, beta] = trained(start, made, looks)
    finally:
        torch.set_num_threads(threads)
    return first, found
