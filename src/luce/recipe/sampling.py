"""What a policy answers: responses as text, and the groups on which policies are compared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from luce.data.pack import micro_batches, pack
from luce.data.template import Renderer
from luce.evaluate import Generation, kl_record
from luce.models.engine import Sample, SamplingSettings, generate
from luce.models.policy import CausalPolicy
from luce.recipe.prepare import initial_policy
from luce.recipe.schema import Evaluate, Recipe
from luce.types import Branch, Group, Place

SAMPLING_SEED = 7919
"""Added to the run's seed, so that evaluation does not draw the numbers that training draws."""


@dataclass(frozen=True)
class Answers:
    """One response to each prompt.

    Attributes:
        prompts: token ids.
        samples: what was drawn, with its log-probabilities.
        generations: the same as text.
    """

    prompts: list[list[int]]
    samples: list[Sample]
    generations: list[Generation]


def sampling_of(settings: Evaluate) -> SamplingSettings:
    """The sampling settings of a recipe."""
    return SamplingSettings(
        temperature=settings.temperature, max_new_tokens=settings.max_new_tokens
    )


def groups_for_samples(groups: Sequence[Group], count: int) -> list[Group]:
    """The first group of each of the first `count` different prompts."""
    different: dict[tuple[int, ...], Group] = {}
    for group in groups:
        different.setdefault(tuple(group.prompt.tolist()), group)
        if len(different) == count:
            break
    return list(different.values())[:count]


def prompts_for_samples(groups: Sequence[Group], count: int) -> list[list[int]]:
    """The first `count` different prompts of these groups."""
    return [group.prompt.tolist() for group in groups_for_samples(groups, count)]


def answer(
    policy: CausalPolicy,
    renderer: Renderer,
    prompts: list[list[int]],
    sampling: SamplingSettings,
    seed: int,
) -> Answers:
    """One response of the policy to each prompt."""
    stop = (renderer.terminator,)
    drawn = generate(policy, prompts, 1, sampling, seed=seed + SAMPLING_SEED, stop_ids=stop)
    samples = [responses[0] for responses in drawn]
    generations = [
        Generation(
            text=renderer.response_text(s.ids),
            tokens=len(s.ids),
            ended=s.ended,
        )
        for s in samples
    ]
    return Answers(prompts, samples, generations)


def sampled_groups(answers: Answers) -> list[Group]:
    """The sampled responses as groups, every token scored; empty responses are left out."""
    groups = []
    for number, (prompt, sample) in enumerate(zip(answers.prompts, answers.samples, strict=True)):
        ids = np.asarray(sample.ids, dtype=np.int32)
        if len(ids):
            branch = Branch(ids, np.ones(len(ids), dtype=bool))
            place = Place("samples.jsonl", number + 1)
            groups.append(Group(np.asarray(prompt, np.int32), (branch,), f"sample-{number}", place))
    return groups


def kl_to_initial(
    recipe: Recipe, policy: CausalPolicy, renderer: Renderer, answers: Answers
) -> dict[str, Any] | None:
    """KL(π ‖ π₀) on the policy's own samples at temperature 1, nats a response; these answers where
    they are such samples. None where all of them are empty."""
    if recipe.evaluate.temperature != 1:
        sampling = replace(sampling_of(recipe.evaluate), temperature=1.0)
        answers = answer(policy, renderer, answers.prompts, sampling, recipe.train.seed)
    others = {"initial": lambda: initial_policy(recipe, policy)}
    return kl_on(answers, policy, others, recipe.train.max_tokens_per_batch)["initial"]


def kl_on(
    answers: Answers,
    policy: CausalPolicy,
    others: Mapping[str, Callable[[], CausalPolicy]],
    budget: int,
) -> dict[str, dict[str, Any] | None]:
    """KL(π ‖ other) of each, nats a response, on answers that the policy gave at temperature 1;
    response tokens only. None where all of them are empty."""
    groups = sampled_groups(answers)
    if not groups:
        return dict.fromkeys(others)
    now = token_log_probs(policy, groups, budget)
    of_prompt = [tuple(g.prompt.tolist()) for g in groups]
    return {
        name: kl_record(now, token_log_probs(load(), groups, budget), of_prompt)
        for name, load in others.items()
    }


@torch.no_grad()
def token_log_probs(
    policy: CausalPolicy, groups: Sequence[Group], budget: int
) -> list[list[float]]:
    """log π of each scored token of each group's responses, nats."""
    found: dict[int, list[float]] = {}
    for part in micro_batches(list(groups), budget):
        packed = pack([groups[i] for i in part]).to(policy.device)
        values = policy.log_probs(packed).cpu().tolist()
        at = 0
        for i in part:
            length = sum(int(b.scored.sum()) for b in groups[i].branches)
            found[i] = values[at : at + length]
            at += length
    return [found[i] for i in range(len(groups))]


def prompt_text(policy: CausalPolicy, ids: list[int]) -> str:
    """A prompt for people to read: its tokens as text, control tokens left out."""
    return policy.tokenizer.decode(ids, skip_special_tokens=True).strip()
