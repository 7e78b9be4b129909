"""A small transformer over sentences, whose end has a chance of its own at every position.

Two layers with learnt positions at the input and at the output. To the logit of the end a bias is
added that is summed up along the sentence: without it so small a model learns too slowly that the
end depends on how much is written already.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from luce.errors import LuceError
from luce.types import Responses

END = 0
"""Token that ends a sentence, and stands before it."""


@dataclass(frozen=True)
class Texts:
    """Sentences.

    Attributes:
        ids: of their tokens, `END` after the last and from there on.
        lengths: |x|, tokens with the end among them.
    """

    ids: Int[Tensor, "texts tokens"]
    lengths: Int[Tensor, " texts"]

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, index: Tensor) -> "Texts":
        """Those with these numbers, or where a mask says so."""
        return Texts(self.ids[index], self.lengths[index])


@dataclass(frozen=True)
class Size:
    """Of a model.

    Attributes:
        vocabulary: tokens, the end among them.
        longest: sentence, tokens with the end.
        width: of a layer.
        layers: how many.
        heads: of attention; they divide the width.
    """

    vocabulary: int
    longest: int = 32
    width: int = 64
    layers: int = 2
    heads: int = 2


class _Layer(nn.Module):
    """Attention to what stands before, and two linear maps; each after a normalization."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width = size.width
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def asked(self, h: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens three_widths"]:
        """Queries, keys and values."""
        return self.qkv(self.before(h))

    def told(self, h: Tensor, mixed: Tensor) -> Float[Tensor, "tokens width"]:
        """What comes out, where attention mixed these values."""
        h = h + self.out(mixed)
        return h + self.down(F.relu(self.up(self.between(h))))


class TextModel(nn.Module):
    """log π of sentences, and sentences drawn from π."""

    def __init__(self, size: Size, seed: int) -> None:
        super().__init__()
        self.size = size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.words = nn.Embedding(size.vocabulary, size.width)
            self.place_in = nn.Parameter(0.02 * torch.randn(size.longest, size.width))
            self.place_out = nn.Parameter(0.02 * torch.randn(size.longest, size.width))
            self.layers = nn.ModuleList(_Layer(size) for _ in range(size.layers))
            self.last = nn.LayerNorm(size.width)
            self.logits = nn.Linear(size.width, size.vocabulary)
            nn.init.normal_(self.words.weight, std=0.1)
        self.end = nn.Parameter(torch.zeros(size.longest))
        self.is_end: Tensor
        self.register_buffer("is_end", (torch.arange(size.vocabulary) == END).float()[:, None])

    @property
    def stack(self) -> list[_Layer]:
        """The layers, first to last."""
        return cast(list[_Layer], list(self.layers))

    def copy(self) -> "TextModel":
        """The same, with weights of its own."""
        return copy.deepcopy(self)

    def groups(self, rate: float, end_times: float) -> list[dict]:
        """Parameters for an optimizer: the bias of the end learns `end_times` faster."""
        others = [p for p in self.parameters() if p is not self.end]
        return [{"params": others, "lr": rate}, {"params": [self.end], "lr": end_times * rate}]

    def _log_probs(
        self, h: Float[Tensor, "tokens width"], position: Int[Tensor, " tokens"]
    ) -> Float[Tensor, "tokens words"]:
        """log P of every token; positions count from 0."""
        h = torch.cat(
            [self.last(h) + self.place_out[position], self.end.cumsum(0)[position, None]], 1
        )
        weight = torch.cat([self.logits.weight, self.is_end], 1)
        return F.linear(h, weight, self.logits.bias).log_softmax(-1)

    def responses(self, texts: Texts) -> Responses:
        """log π of every token of every sentence, the end last; nats."""
        longest = int(texts.lengths.max())
        ids = texts.ids[:, :longest]
        position = torch.arange(longest).expand_as(ids)
        counts = position < texts.lengths[:, None]
        at, position = counts.flatten().nonzero().squeeze(1), position[counts]
        h = self.words(F.pad(ids[:, :-1], (1, 0), value=END)[counts]) + self.place_in[position]
        for layer in self.stack:
            # only attention sees the rows filled up: the rest is as long as the sentences are
            qkv = layer.asked(h)
            filled = qkv.new_zeros(ids.numel(), qkv.shape[1]).index_copy(0, at, qkv)
            q, k, v = self._heads(filled.view(*ids.shape, -1))
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            h = layer.told(h, mixed.transpose(1, 2).reshape(ids.numel(), -1)[at])
        chosen = self._log_probs(h, position).gather(1, ids[counts][:, None]).squeeze(1)
        return Responses(chosen, texts.lengths)

    def _heads(self, qkv: Float[Tensor, "texts tokens three_widths"]) -> list[Tensor]:
        """Queries, keys and values of each head."""
        size = self.size
        shape = (*qkv.shape[:2], size.heads, size.width // size.heads)
        return [part.view(shape).transpose(1, 2) for part in qkv.split(size.width, 2)]

    @torch.no_grad()
    def all_responses(self, texts: Texts, at_once: int = 512) -> Responses:
        """`responses` without gradients, of any number of sentences."""
        parts = [
            self.responses(Texts(ids, lengths)).policy
            for ids, lengths in zip(
                texts.ids.split(at_once), texts.lengths.split(at_once), strict=True
            )
        ]
        return Responses(torch.cat(parts), texts.lengths)

    @torch.no_grad()
    def sample(self, count: int, draw: torch.Generator) -> Texts:
        """Sentences that end within `Size.longest` tokens; what does not is drawn again.

        Raises:
            LuceError: hardly any does.
        """
        found, drawn, kept = [], 0, 0
        while kept < count:
            wanted = min(4096, count - kept + 64)
            texts = self._draw(wanted, draw)
            found.append(texts)
            drawn, kept = drawn + wanted, kept + len(texts)
            if kept < drawn / 20:
                raise LuceError(
                    f"{kept} of {drawn} sentences ended within {self.size.longest} tokens: the "
                    "model has not learnt to end. Train it longer, or at a lower rate."
                )
        ids, lengths = (
            torch.cat([t.ids for t in found]),
            torch.cat([t.lengths for t in found]),
        )
        return Texts(ids[:count], lengths[:count])

    def _draw(self, count: int, draw: torch.Generator) -> Texts:
        size = self.size
        ids = torch.full((count, size.longest), END)
        lengths = torch.zeros(count, dtype=torch.int64)
        alive = torch.arange(count)
        token = torch.full((count,), END)
        past: list[tuple[Tensor, Tensor]] = []
        for t in range(size.longest):
            h, seen = self.words(token) + self.place_in[t], []
            for number, layer in enumerate(self.stack):
                q, k, v = self._heads(layer.asked(h)[:, None])
                if past:
                    k, v = (torch.cat(pair, 2) for pair in zip(past[number], (k, v), strict=True))
                seen.append((k, v))
                mixed = F.scaled_dot_product_attention(q, k, v)
                h = layer.told(h, mixed.transpose(1, 2).reshape(h.shape))
            p = self._log_probs(h, torch.full((len(alive),), t)).exp()
            # the largest of p over exponential draws: one draw of p, faster than multinomial
            token = (p / torch.empty_like(p).exponential_(generator=draw)).argmax(1)
            ids[alive, t] = token
            going = token != END
            lengths[alive[~going]] = t + 1
            alive, token = alive[going], token[going]
            if not len(alive):
                break
            past = [(k[going], v[going]) for k, v in seen]
        ended = lengths > 0
        return Texts(ids[ended], lengths[ended])


def imitate(
    model: TextModel,
    texts: Texts,
    steps: int,
    rate: float,
    seed: int,
    end_times: float = 60.0,
) -> list[float]:
    """Train on sentences, in place, and return nats per token at every step.

    Adam, 64 sentences a step, the rate a cosine to 0 after a twentieth of warming up; that of the
    end's bias is `end_times` as high.
    """
    losses = []
    adam = torch.optim.Adam(model.groups(rate, end_times), betas=(0.9, 0.98))
    warm = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.SequentialLR(
        adam,
        [
            torch.optim.lr_scheduler.LinearLR(adam, 0.1, 1.0, warm),
            torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps - warm),
        ],
        [warm],
    )
    for index in batches(len(texts), 64, steps, seed):
        cost = -model.responses(texts.take(index)).policy.mean()
        adam.zero_grad()
        torch.autograd.backward(cost)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        schedule.step()
        losses.append(cost.item())
    return losses


def batches(count: int, size: int, steps: int, seed: int) -> Iterator[Tensor]:
    """Numbers below `count`, epoch after epoch in a new order, `size` at a time."""
    draw = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        while len(order) < size:
            order = torch.cat([order, torch.randperm(count, generator=draw)])
        yield order[:size]
        order = order[size:]
