"""Language models mixed as products, ∝ Π πᵢ^wᵢ: Nash-MD's opponent, π^{1−α} π_ref^α.

Token by token, the distribution of the next token is ∝ Π πᵢ(· | x, y_<t)^wᵢ: a sum of logits, which
is what Nash-MD samples from (Munos et al., 2023, arXiv:2312.00886, section 7). This is *not* the
product of whole responses, Π πᵢ(y|x)^wᵢ/Z(x), which is what the theory plays against: each token is
normalized by itself, as if the rest did not matter. The two agree where responses are one token
long. Of the product of whole responses nothing can be sampled without knowing Z(x); for small
models `response_law` lists every response with its probability, and
`luce.models.tabular.geometric_mixture` of two such lists is exact.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from luce.errors import ModelError
from luce.models import network
from luce.models.attention import best_layout
from luce.models.layout import Layout
from luce.models.policy import CausalPolicy
from luce.models.tabular import TabularPolicy, actions

LARGEST_LAW = 1_000_000
"""Responses that `response_law` lists, at most."""


class GeometricMixture(CausalPolicy):
    """The policy ∝ Π πᵢ^wᵢ, token by token. `engine.generate` samples from it, one network's pass
    after the other, each with its own cache.

    It is a policy of its own: `log_probs`, and `Sample.log_probs` of what was drawn from it, are
    log-probabilities of the *mixture* at temperature 1. For those of a policy in it, ask that
    policy for the `log_probs` of the same tokens. A network of weight 0 does not run.

    Attributes:
        weights: wᵢ ≥ 0 with sum 1, in the order of the policies.
    """

    def __init__(self, policies: Sequence[CausalPolicy], weights: Sequence[float]) -> None:
        members = tuple(_Member(p) for p in policies)
        self._build(members, tuple(map(float, weights)))

    def _build(self, members: "tuple[_Member, ...]", weights: tuple[float, ...]) -> None:
        _check(members, weights)
        first = members[0].policy
        network.Network.__init__(
            self, _Product(members, weights), first.tokenizer, f"mixture of {_names(members)}"
        )
        self.weights = weights
        self.head, self.head_reason = "forward", "a mixture is one of logits"
        self.layout, self.layout_reason = "padded", "its networks run one after the other"
        self.autocast = first.autocast
        self._members = members

    def at(self, weights: Sequence[float]) -> "GeometricMixture":
        """The same networks, not copied, under other weights."""
        other = GeometricMixture.__new__(GeometricMixture)
        other._build(self._members, tuple(map(float, weights)))
        return other

    @contextmanager
    def attention(self, layout: Layout) -> Iterator[None]:
        """Every network with transformers' own attention, for a while."""
        with ExitStack() as stack:
            for member in self._members:
                stack.enter_context(member.policy.plain_attention())
            yield


def toward_reference(
    policy: CausalPolicy, alpha: float, reference: CausalPolicy | None = None
) -> GeometricMixture:
    """π^{1−α} π_ref^α, token by token.

    Args:
        alpha: the share of the reference, in [0, 1]. At 0 and 1 the samples are those of π and
            π_ref with the same seed.
        reference: π_ref; None is the base under the adapter of `policy`, on the same weights.

    Raises:
        ModelError: α out of range; no reference and no adapter; other tokens.
    """
    if not 0 <= alpha <= 1:
        raise ModelError(f"alpha: {alpha:g} must lie in [0, 1].")
    if reference is not None:
        return GeometricMixture([policy, reference], [1 - alpha, alpha])
    if not policy.has_adapter:
        raise ModelError(
            f"{policy.path}: it has no adapter to switch off. Give the reference as a policy."
        )
    mixed = GeometricMixture.__new__(GeometricMixture)
    mixed._build((_Member(policy), _Member(policy, base=True)), (1 - alpha, alpha))
    return mixed


def response_law(
    policy: CausalPolicy, prompt: Sequence[int], max_new_tokens: int, *, stop_ids: Sequence[int]
) -> tuple[list[tuple[int, ...]], TabularPolicy]:
    """Every response that can be drawn, in the order of its tokens' numbers within its length, and
    π(y|x) of each, float64. A response ends with a stop token or at `max_new_tokens`.

    Two policies with the same tokens list the same responses in the same order.

    Raises:
        ModelError: there are more than `LARGEST_LAW`.
    """
    found: list[tuple[tuple[int, ...], float]] = []
    open_: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    stops = set(stop_ids)
    with network.evaluating(policy.module), policy.plain_attention():
        for step in range(max_new_tokens):
            grown = []
            for start in range(0, len(open_), 1024):
                part = open_[start : start + 1024]
                ids = torch.tensor([[*prompt, *y] for y, _ in part], device=policy.device)
                with network.precision(policy.device, policy.autocast):
                    logits = policy.inner(input_ids=ids, use_cache=False).logits[:, -1]
                rows = logits.double().log_softmax(-1)
                if (len(found) + len(open_) * rows.shape[1]) > LARGEST_LAW:
                    raise ModelError(
                        f"max_new_tokens: {max_new_tokens} tokens of {rows.shape[1]} make more "
                        f"than {LARGEST_LAW} responses. Ask for fewer tokens."
                    )
                for (y, log_p), row in zip(part, rows.tolist(), strict=True):
                    grown += [((*y, token), log_p + more) for token, more in enumerate(row)]
            last = step + 1 == max_new_tokens
            found += [(y, p) for y, p in grown if last or y[-1] in stops]
            open_ = [(y, p) for y, p in grown if y[-1] not in stops]
    responses = [y for y, _ in found]
    space = actions(len(found), [len(y) for y in responses])
    return responses, space.normalize(torch.tensor([p for _, p in found], dtype=torch.float64))


@dataclass(frozen=True)
class _Member:
    """A policy in a mixture, or with `base` the model under its adapter."""

    policy: CausalPolicy
    base: bool = False

    def logits(self, given: dict[str, Any]) -> tuple[Tensor, Any]:
        """Its logits where they are asked for, float32 or better, and its cache."""
        taken = {k: v for k, v in given.items() if v is not None and self.policy.takes(k)}
        off = self.policy.adapter_disabled() if self.base else nullcontext()
        with off, self.policy.plain_attention():
            out = self.policy.inner(**taken)
        logits, keep = out.logits, given.get("logits_to_keep")
        if keep is not None and "logits_to_keep" not in taken:
            logits = logits[:, -keep:] if isinstance(keep, int) else logits[:, keep]
        return logits if logits.dtype == torch.float64 else logits.float(), out.past_key_values


@dataclass(frozen=True)
class _Caches:
    """The caches of the networks that run, moved together."""

    parts: tuple[Any, ...]

    def batch_repeat_interleave(self, repeats: int) -> None:
        for part in self.parts:
            part.batch_repeat_interleave(repeats)

    def batch_select_indices(self, indices: Tensor) -> None:
        for part in self.parts:
            part.batch_select_indices(indices)


class _Product(PreTrainedModel):
    """Networks that speak as one: the weighed sum of their logits."""

    def __init__(self, members: tuple[_Member, ...], weights: tuple[float, ...]) -> None:
        config = copy.deepcopy(members[0].policy.inner.config)
        config._attn_implementation = "eager"
        rooms = [
            getattr(m.policy.inner.config.get_text_config(), "max_position_embeddings", None)
            for m in members
        ]
        if any(room is not None for room in rooms):
            smallest = min(room for room in rooms if room is not None)
            config.get_text_config().max_position_embeddings = smallest
        super().__init__(config)
        self.networks = nn.ModuleList({id(m.policy): m.policy.module for m in members}.values())
        self.active = [(m, w) for m, w in zip(members, weights, strict=True) if w > 0]
        # one network that reads its row from the left is enough to keep rows as they are
        self._is_stateful = any(
            best_layout(m.policy.inner, False)[0] == "padded" for m, _ in self.active
        )

    def get_input_embeddings(self) -> nn.Module:
        return self.active[0][0].policy.inner.get_input_embeddings()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor | None = None,
    ) -> CausalLMOutputWithPast:
        total, caches = None, []
        for number, (member, weight) in enumerate(self.active):
            own = None if past_key_values is None else past_key_values.parts[number]
            logits, cache = member.logits(
                {
                    "input_ids": input_ids,
                    "attention_mask": attention_mask,
                    "position_ids": position_ids,
                    "past_key_values": own,
                    "use_cache": use_cache,
                    "logits_to_keep": logits_to_keep,
                }
            )
            caches.append(cache)
            total = weight * logits if total is None else total + weight * logits
        found: Any = _Caches(tuple(caches)) if use_cache else None
        return CausalLMOutputWithPast(logits=total, past_key_values=found)  # type: ignore[arg-type]


def _names(members: Sequence[_Member]) -> str:
    return ", ".join(f"the base of {m.policy.path}" if m.base else m.policy.path for m in members)


def _check(members: Sequence[_Member], weights: Sequence[float]) -> None:
    if len(weights) != len(members) or not weights or min(weights) < 0:
        raise ModelError(
            f"weights: {list(weights)} for {len(members)} policies; give one each, 0 or more."
        )
    if abs(sum(weights) - 1) > 1e-9:
        raise ModelError(f"weights: {list(weights)} sum to {sum(weights):g}, not to 1.")
    first = members[0].policy
    for member in members[1:]:
        other = member.policy
        if other.tokenizer.get_vocab() != first.tokenizer.get_vocab() or _width(other) != _width(
            first
        ):
            raise ModelError(
                f"{other.path}: its tokens are not those of {first.path}. Only models with one "
                "vocabulary can be mixed token by token."
            )
        if other.device != first.device:
            raise ModelError(
                f"{other.path}: it is on {other.device}, {first.path} on {first.device}. Load both "
                "on one device."
            )


def _width(policy: CausalPolicy) -> int:
    return int(policy.inner.config.get_text_config().vocab_size)
