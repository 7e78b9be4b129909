"""Sampling from a policy in this process: prompts prefilled once for all of their samples, sorted
by length, and rows that are done taken out of the batch.

Sample j of prompt i is drawn with uniform numbers made from (seed, i, j) alone, by inverting the
cumulative distribution. So it does not depend on which other prompts share its batch, but for
rounding: another batch shape may change a probability in its last bit, and a uniform number that
falls there changes a token.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from luce.errors import ModelError
from luce.models import network
from luce.models.attention import best_layout
from luce.models.policy import CausalPolicy
from luce.numerics import running_sums

KEEP = 0.75
"""Finished rows are taken out when at most this part of a batch is alive: moving the cache costs
about as much as a few steps on the dead rows."""


@dataclass(frozen=True)
class SamplingSettings:
    """How responses are drawn.

    Attributes:
        temperature: logits are divided by it; 0 takes the likeliest token.
        top_p: sample from the smallest set of tokens that holds this probability.
        max_new_tokens: a response that has not ended by then is cut.
        max_batch_tokens: rows × (longest prompt + max_new_tokens) of a batch, at most; one row is
            always run.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 128
    max_batch_tokens: int = 32768

    def __post_init__(self) -> None:
        if self.temperature < 0 or not 0 < self.top_p <= 1 or self.max_new_tokens < 1:
            raise ModelError(
                f"Sampling with temperature = {self.temperature}, top_p = {self.top_p}, "
                f"max_new_tokens = {self.max_new_tokens}: give ≥ 0, in (0, 1], and ≥ 1."
            )


@dataclass(frozen=True)
class Sample:
    """One response.

    Attributes:
        ids: its tokens, with the end-of-turn token where it ended.
        log_probs: log π of each under the policy itself (temperature 1, no top_p), in nats.
        ended: False where it was cut at `max_new_tokens`.
    """

    ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    ended: bool


@dataclass(frozen=True)
class _Batch:
    """Prompts by number, longest first, and which samples of each are drawn together."""

    prompts: tuple[int, ...]
    first: int
    count: int


@dataclass
class _Draft:
    """A response in the making."""

    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    ended: bool = False


def generate(
    policy: CausalPolicy,
    prompts: Sequence[Sequence[int]],
    n: int = 1,
    settings: SamplingSettings | None = None,
    *,
    seed: int = 0,
    stop_ids: Sequence[int],
    progress: Callable[[int, int], None] | None = None,
) -> list[list[Sample]]:
    """n samples for each prompt, in the order of the prompts. The network's mode is restored.

    Args:
        prompts: token ids, at least one each; as the renderer makes them.
        n: samples of each; with temperature 0 all n are the same.
        seed: of all random numbers.
        stop_ids: tokens that end a response; they are kept as its last token.
        progress: called with (samples drawn, samples in all) after every batch.

    Raises:
        ModelError: an empty prompt, or one that leaves no room for `max_new_tokens`.
    """
    settings = settings or SamplingSettings()
    drawn = 1 if settings.temperature == 0 else n
    results: list[list[Sample]] = [[] for _ in prompts]
    _check_room(policy, prompts, settings)
    with network.evaluating(policy.module), policy.plain_attention():
        stateful = best_layout(policy.inner, False)[0] == "padded"
        for batch in _batches(prompts, drawn, settings, same_length=stateful):
            rows = _run(policy, prompts, batch, settings, seed, tuple(stop_ids), stateful)
            for number, draft in rows:
                results[number].append(
                    Sample(tuple(draft.ids), tuple(draft.log_probs), draft.ended)
                )
            if progress is not None:
                progress(sum(map(len, results)), drawn * len(prompts))
    return [row * n for row in results] if drawn < n else results


def _check_room(
    policy: CausalPolicy, prompts: Sequence[Sequence[int]], settings: SamplingSettings
) -> None:
    room = getattr(policy.inner.config.get_text_config(), "max_position_embeddings", None)
    for i, prompt in enumerate(prompts):
        if not len(prompt):
            raise ModelError(f"Prompt {i} is empty; a policy needs at least one token to go on.")
        if room is not None and len(prompt) + settings.max_new_tokens > room:
            left = room - max(map(len, prompts))
            lower = f"Lower it to {left} (at a command `--max-new-tokens {left}`)"
            remedy = lower if left > 0 else "Shorten the prompt"
            raise ModelError(
                f"Prompt {i} has {len(prompt)} tokens; with max_new_tokens = "
                f"{settings.max_new_tokens} it outgrows the model's {room} positions. {remedy}."
            )


def _batches(
    prompts: Sequence[Sequence[int]], n: int, settings: SamplingSettings, same_length: bool
) -> Iterator[_Batch]:
    """Longest prompts first, so that a batch that does not fit in memory fails at once."""
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    start = 0
    while start < len(order):
        longest = len(prompts[order[start]])
        rows = max(1, settings.max_batch_tokens // (longest + settings.max_new_tokens))
        if rows < n:
            for first in range(0, n, rows):
                yield _Batch((order[start],), first, min(rows, n - first))
            start += 1
            continue
        stop = min(len(order), start + rows // n)
        if same_length:
            while len(prompts[order[stop - 1]]) != longest:
                stop -= 1
        yield _Batch(tuple(order[start:stop]), 0, n)
        start = stop


def _run(
    policy: CausalPolicy,
    prompts: Sequence[Sequence[int]],
    batch: _Batch,
    settings: SamplingSettings,
    seed: int,
    stop_ids: tuple[int, ...],
    stateful: bool,
) -> list[tuple[int, _Draft]]:
    """The samples of one batch, with the number of the prompt each belongs to."""
    device = policy.device
    copies = batch.count if stateful else 1
    own = [prompts[i] for i in batch.prompts for _ in range(copies)]
    ids, mask = _left_padded(own, device)
    logits, cache = _step(policy, ids, mask, None)
    if copies < batch.count:
        logits = logits.repeat_interleave(batch.count, 0)
        mask = mask.repeat_interleave(batch.count, 0)
        cache.batch_repeat_interleave(batch.count)
    names = [(i, batch.first + j) for i in batch.prompts for j in range(batch.count)]
    uniform = torch.from_numpy(
        np.stack(
            [np.random.default_rng((seed, *name)).random(settings.max_new_tokens) for name in names]
        )
    ).to(device)
    stops = torch.tensor(stop_ids, device=device, dtype=torch.long)
    drafts = [_Draft() for _ in names]
    alive = list(range(len(names)))
    # mps and friends have no float64: the draw is made in the precision of the probabilities
    uniform = uniform.to(logits.dtype)
    for step in range(settings.max_new_tokens):
        tokens, log_probs = draw(logits, uniform[:, step], settings)
        ended = torch.isin(tokens, stops)
        for row, token, value, end in zip(
            alive, tokens.tolist(), log_probs.tolist(), ended.tolist(), strict=True
        ):
            draft = drafts[row]
            if not draft.ended:
                draft.ids.append(token)
                draft.log_probs.append(value)
                draft.ended = end
        living = [k for k, row in enumerate(alive) if not drafts[row].ended]
        if not living or step + 1 == settings.max_new_tokens:
            break
        if not stateful and len(living) <= KEEP * len(alive):
            kept = torch.tensor(living, device=device)
            cache.batch_select_indices(kept)
            tokens, mask, uniform = tokens[kept], mask[kept], uniform[kept]
            alive = [alive[k] for k in living]
        mask = torch.cat((mask, mask.new_ones(len(mask), 1)), 1)
        logits, cache = _step(policy, tokens[:, None], mask, cache)
    return [(name[0], draft) for name, draft in zip(names, drafts, strict=True)]


def _left_padded(
    prompts: Sequence[Sequence[int]], device: torch.device
) -> tuple[Int[Tensor, "rows width"], Int[Tensor, "rows width"]]:
    width = max(len(p) for p in prompts)
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.as_tensor(prompt, dtype=torch.long)
        mask[row, width - len(prompt) :] = 1
    return ids.to(device), mask.to(device)


def _step(policy: CausalPolicy, ids: Tensor, mask: Tensor, cache: Any) -> tuple[Tensor, Any]:
    """Logits after the last token of each row, float32 or better, and the cache."""
    given = {"input_ids": ids, "attention_mask": mask, "use_cache": True}
    if policy.takes("position_ids"):
        given["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    if cache is not None:
        given["past_key_values"] = cache
    if policy.takes("logits_to_keep"):
        given["logits_to_keep"] = 1
    with network.precision(policy.device, policy.autocast):
        out = policy.inner(**given)
    logits = out.logits[:, -1]
    return logits if logits.dtype == torch.float64 else logits.float(), out.past_key_values


def draw(
    logits: Float[Tensor, "rows vocab"], uniform: Float[Tensor, " rows"], settings: SamplingSettings
) -> tuple[Int[Tensor, " rows"], Float[Tensor, " rows"]]:
    """A token for each row, and its log-probability under the policy at temperature 1.

    The token is the first whose cumulative probability exceeds the row's uniform number in [0, 1);
    under top_p tokens stand in order of falling probability, otherwise of their ids.
    """
    log_probs = logits.log_softmax(-1)
    if settings.temperature == 0:
        tokens = logits.argmax(-1)
        return tokens, log_probs.gather(1, tokens[:, None])[:, 0]
    probs = (logits / settings.temperature).softmax(-1)
    order = None
    if settings.top_p < 1:
        probs, order = torch.sort(probs, dim=-1, descending=True, stable=True)
        before = running_sums(probs) - probs
        probs = torch.where(before < settings.top_p, probs, torch.zeros_like(probs))
    cumulative = running_sums(probs)
    place = torch.searchsorted(cumulative, uniform[:, None] * cumulative[:, -1:], right=True)
    # rounding can put the number on the total itself, beyond every token that has a probability
    last = (cumulative < cumulative[:, -1:]).sum(-1, keepdim=True)
    place = torch.minimum(place, last)
    tokens = (place if order is None else order.gather(1, place))[:, 0]
    return tokens, log_probs.gather(1, tokens[:, None])[:, 0]
