"""The samples of a round: drawn, graded, and seen once by the trainer's own forward pass.

What a step reads of the sampling policy are the log-probabilities of the trainer's forward, not
those of the sampler, so that the ratio π/π_sampler is 1 until the weights move. How far the two are
apart is told, and beyond what rounding explains it is an error.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from luce.data.pack import micro_batches, pack
from luce.data.template import Renderer
from luce.errors import LuceError, ModelError
from luce.models.engine import Sample, SamplingSettings, generate
from luce.models.policy import CausalPolicy
from luce.models.reference import ReferencePolicy
from luce.online.rl.critic import Critic
from luce.types import Branch, Group, Place, Text

Grade: TypeAlias = Callable[[Sequence[tuple[Text, Sequence[str]]]], Sequence[Sequence[float]]]
"""Prompts with their responses → r(x, y) of each response."""

GAP = {"float32": (1e-3, 1e-2), "float64": (1e-6, 1e-5)}
"""Nats by which log π of a sampled token may differ between sampler and trainer: on average, and
the largest."""

HALF_GAP = (0.05, 2.0)
"""The same where products are made in 16 bits."""


@dataclass(frozen=True)
class Prompt:
    """What is asked.

    Attributes:
        id, place: of the row it came from.
        text: as the scorer reads it.
        ids: as the policy reads it.
    """

    id: str
    place: Place
    text: Text
    ids: tuple[int, ...]


@dataclass(frozen=True)
class RolloutSettings:
    """How a round is sampled.

    Attributes:
        n: samples of each prompt.
        sampling: temperature, top_p and the longest response.
        seed: of all samples.
        block: prompts that are sampled, graded and written together.
        max_tokens_per_batch: input tokens of a forward pass.
    """

    n: int
    sampling: SamplingSettings
    seed: int = 0
    block: int = 64
    max_tokens_per_batch: int = 8192


@dataclass(frozen=True)
class Rollout:
    """The samples of one prompt, response after response.

    Attributes:
        prompt: what was asked.
        group: the prompt's tokens once, and each sample as a branch.
        texts: the responses without their end-of-turn tokens.
        reward: r(x, y) of each.
        ended: whether it ended by itself.
        sampler: log π of each token as the sampler had it, nats.
        behavior: the same by the trainer's forward pass, with the weights that sampled.
        entropy: Σ_t H(π(·|x, y_<t)) of each response, nats.
        reference: log π_ref of each token, or None.
        value: the critic's V(x, y_<t) at that time, or None.
    """

    prompt: Prompt
    group: Group
    texts: tuple[str, ...]
    reward: Float[Tensor, " responses"]
    ended: Bool[Tensor, " responses"]
    sampler: Float[Tensor, " tokens"]
    behavior: Float[Tensor, " tokens"]
    entropy: Float[Tensor, " responses"]
    reference: Float[Tensor, " tokens"] | None = None
    value: Float[Tensor, " tokens"] | None = None

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each response."""
        return tuple(len(branch) for branch in self.group.branches)


@dataclass(frozen=True)
class Actors:
    """Who takes part in a round.

    Attributes:
        policy: what samples, and is trained.
        renderer: makes text of its tokens; its terminator ends a response.
        grade: the scorer.
        reference: π_ref, on weights that training does not move; None where there is none.
        critic: of PPO.
    """

    policy: CausalPolicy
    renderer: Renderer
    grade: Grade
    reference: ReferencePolicy | None = None
    critic: Critic | None = None

    def version(self) -> str:
        """Of the weights that take part in sampling, as they are now."""
        own = self.policy.hash()
        return own if self.critic is None else f"{own}-{self.critic.model.hash()}"


def draw_rollouts(
    actors: Actors, prompts: Sequence[Prompt], settings: RolloutSettings, seed: int
) -> list[Rollout]:
    """n samples of each prompt, graded; a function of weights, prompts and seed alone.

    Raises:
        ModelError: sampler and trainer disagree on the probability of what was sampled.
        LuceError: the scorer does not give a finite number for each response.
    """
    stop = (actors.renderer.terminator,)
    ids = [prompt.ids for prompt in prompts]
    drawn = generate(actors.policy, ids, settings.n, settings.sampling, seed=seed, stop_ids=stop)
    texts = [[actors.renderer.response_text(s.ids) for s in samples] for samples in drawn]
    rewards = _graded(actors.grade, prompts, texts)
    groups = [_group(p, samples) for p, samples in zip(prompts, drawn, strict=True)]
    seen = _seen(actors, groups, settings.max_tokens_per_batch)
    found = [
        Rollout(
            prompt=prompt,
            group=group,
            texts=tuple(own),
            reward=torch.tensor(graded, dtype=tokens["behavior"].dtype),
            ended=torch.tensor([s.ended for s in samples]),
            sampler=torch.tensor(
                [x for s in samples for x in s.log_probs], dtype=tokens["behavior"].dtype
            ),
            **tokens,
        )
        for prompt, group, samples, own, graded, tokens in zip(
            prompts, groups, drawn, texts, rewards, seen, strict=True
        )
    ]
    refuse_gap(found, actors.policy.dtype)
    return found


def sampler_gap(rollouts: Sequence[Rollout]) -> tuple[float, float]:
    """How far log π of the sampled tokens is apart between sampler and trainer, nats: on average
    and the largest."""
    apart = torch.cat([(r.sampler - r.behavior).abs() for r in rollouts]).double()
    return float(apart.mean()), float(apart.max())


def refuse_gap(rollouts: Sequence[Rollout], dtype: str) -> None:
    """ModelError where the gap is larger than rounding in this precision explains."""
    mean, largest = sampler_gap(rollouts)
    limits = GAP.get(dtype, HALF_GAP)
    if not (mean <= limits[0] and largest <= limits[1]):
        raise ModelError(
            f"online: sampler and trainer give the sampled tokens log-probabilities that differ by "
            f"{mean:.2g} nats on average and {largest:.2g} at most (allowed in {dtype}: "
            f"{limits[0]:g} and {limits[1]:g}), so the samples are not the trained policy's. Set "
            "`model.layout: padded`, or `model.dtype: float32` with `train.bf16: false`."
        )


def _graded(
    grade: Grade, prompts: Sequence[Prompt], texts: Sequence[Sequence[str]]
) -> list[list[float]]:
    asked = [(prompt.text, own) for prompt, own in zip(prompts, texts, strict=True)]
    found = [[float(x) for x in row] for row in grade(asked)]
    for number, prompt in enumerate(prompts):
        row = found[number] if number < len(found) else []
        if len(row) != len(texts[number]):
            raise LuceError(
                f"online.annotator: {len(row)} rewards for the {len(texts[number])} responses to "
                f"{prompt.place}. A scorer gives one number for each."
            )
        for reward, text in zip(row, texts[number], strict=True):
            if not np.isfinite(reward):
                raise LuceError(
                    f"online.annotator: the reward of a response to {prompt.place} is {reward} "
                    f"(it begins {text[:40]!r}). Mend the scorer: a reward is a finite number."
                )
    return found


def _group(prompt: Prompt, samples: Sequence[Sample]) -> Group:
    branches = tuple(
        Branch(np.asarray(s.ids, dtype=np.int32), np.ones(len(s.ids), dtype=bool)) for s in samples
    )
    return Group(np.asarray(prompt.ids, dtype=np.int32), branches, prompt.id, prompt.place)


@torch.no_grad()
def _seen(actors: Actors, groups: Sequence[Group], budget: int) -> list[Mapping[str, Tensor]]:
    """What policy, reference and critic say of the groups' tokens, on the CPU."""
    found: list[Mapping[str, Tensor]] = [{} for _ in groups]
    for part in micro_batches(list(groups), budget):
        packed = pack([groups[i] for i in part]).to(actors.policy.device)
        behavior, columns = actors.policy.respond(packed, ("entropy",))
        tokens = {"behavior": behavior, "entropy": columns["entropy"]}
        if actors.reference is not None:
            tokens["reference"] = actors.reference.log_probs(packed)
        if actors.critic is not None:
            tokens["value"] = actors.critic.values(packed)
        sizes = [sum(len(b) for b in groups[i].branches) for i in part]
        parts = {name: t.cpu().split(sizes) for name, t in tokens.items()}
        for place, i in enumerate(part):
            own = {name: chunks[place].clone() for name, chunks in parts.items()}
            lengths = [len(b) for b in groups[i].branches]
            own["entropy"] = torch.stack([x.sum() for x in own["entropy"].split(lengths)])
            found[i] = own
    return found
