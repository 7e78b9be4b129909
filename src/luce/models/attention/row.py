"""The groups of a row, what each token may see, and what attention is asked for."""

import math
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, cast, no_type_check

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from luce.errors import ModelError
from luce.types import Span

Kernel: TypeAlias = Literal["auto", "branch", "exact", "dense", "varlen", "flex"]
"""How the attention of a row is computed: `branch` segment by segment, merged by log-sum-exp (CPU);
`exact` group by group, anything that is softmax attention; `dense` under one mask of the row's
square, the plain reference; `varlen` and `flex` with the kernels of torch for CUDA; `auto` chooses
by device. A layer that the named kernel cannot compute takes `exact`."""

_wanted: ContextVar[Kernel] = ContextVar("luce_attention_kernel", default="auto")


@contextmanager
def using_kernel(kernel: Kernel) -> Iterator[None]:
    """Rows laid out meanwhile are computed with this kernel."""
    token = _wanted.set(kernel)
    try:
        yield
    finally:
        _wanted.reset(token)


@dataclass(frozen=True)
class Variant:
    """The attention that a layer asks for.

    Attributes:
        scale: of the dot products; None for 1/√width.
        window: a token at position p sees positions > p − window only.
        chunk: a token at position p sees positions with the same ⌊position / chunk⌋ only.
        softcap: scores become softcap · tanh(score / softcap).
        sinks: a score per head that takes its share of the softmax and adds no value.
    """

    scale: float | None = None
    window: int | None = None
    chunk: int | None = None
    softcap: float | None = None
    sinks: Tensor | None = None

    def scale_of(self, width: int) -> float:
        """The factor of the dot products of vectors of this width."""
        return 1 / math.sqrt(width) if self.scale is None else float(self.scale)

    def within(self, longest: int) -> "Variant":
        """The same for sequences of at most this many tokens: a window or a chunk that holds them
        all is none."""
        window = None if self.window is None or self.window >= longest else self.window
        chunk = None if self.chunk is None or self.chunk >= longest else self.chunk
        return replace(self, window=window, chunk=chunk)

    @property
    def masked(self) -> bool:
        """True where distance, not only order, decides what is seen."""
        return self.window is not None or self.chunk is not None


@dataclass(frozen=True)
class Tokens:
    """The place of every token of a row.

    Attributes:
        group: number of its group.
        branch: 0 in the prompt, k in the k-th response.
        position: tokens before it in its own sequence.
    """

    group: Int[Tensor, " tokens"]
    branch: Int[Tensor, " tokens"]
    position: Int[Tensor, " tokens"]

    @classmethod
    def of(cls, spans: tuple[Span, ...]) -> "Tokens":
        """The places in a row of these groups, on the CPU."""
        group, branch, position = [], [], []
        for number, span in enumerate(spans):
            lengths = torch.tensor((span.prompt, *span.branches))
            own = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
            group.append(torch.full_like(own, number))
            branch.append(own)
            position.append(torch.arange(span.prompt))
            position += [torch.arange(span.prompt, span.prompt + n) for n in span.branches]
        return cls(torch.cat(group), torch.cat(branch), torch.cat(position))

    def to(self, device: torch.device) -> "Tokens":
        """The same places on another device."""
        return Tokens(self.group.to(device), self.branch.to(device), self.position.to(device))

    @no_type_check  # torch compiles it into its kernels, and does not let types be checked there
    def sees(self, i: Tensor, j: Tensor, window: int | None, chunk: int | None) -> Tensor:
        """True where token i sees token j: in the same group, in the prompt or the same response,
        at no later position, inside the window and in the same chunk. i and j broadcast."""
        at, other = self.position[i], self.position[j]
        own = (self.branch[j] == 0) | (self.branch[j] == self.branch[i])
        seen = (self.group[i] == self.group[j]) & own & (other <= at)
        if window is not None:
            seen = seen & (other > at - window)
        if chunk is not None:
            seen = seen & (other // chunk == at // chunk)
        return seen


def group_mask(
    span: Span, window: int | None = None, chunk: int | None = None
) -> Bool[Tensor, "tokens tokens"]:
    """True where token i (row) sees token j (column): j ≤ i, and j is in the prompt or in i's own
    response; and inside the window and chunk, if any.

    >>> group_mask(Span(start=0, prompt=1, branches=(1, 1))).int().tolist()
    [[1, 0, 0], [1, 1, 0], [1, 0, 1]]
    """
    every = torch.arange(span.prompt + sum(span.branches))
    return Tokens.of((span,)).sees(every[:, None], every[None, :], window, chunk)


class SharedRow:
    """The groups of a row, back to back from its first token to its last.

    Attributes:
        spans: where each group lies.
        kernel: how attention over it is computed; default: of `using_kernel`, or `auto`.
        calls: attention layers that have read it; a self-check counts them.

    Raises ModelError where groups leave a gap or overlap.
    """

    def __init__(self, spans: tuple[Span, ...], kernel: Kernel | None = None) -> None:
        end = 0
        for span in spans:
            if span.start != end:
                raise ModelError(
                    f"A group starts at token {span.start} of its row, the one before ends at "
                    f"{end}. Lay groups back to back, as `luce.data.pack.pack` does."
                )
            end = span.end
        self.spans = spans
        self.kernel: Kernel = kernel or _wanted.get()
        self.calls = 0
        self._kept: dict[Hashable, Any] = {}

    def keep(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` gives, made once for the row: all layers ask for the same."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def __len__(self) -> int:
        """Tokens of the row."""
        return self.spans[-1].end if self.spans else 0

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt with response."""
        return max(span.prompt + max(span.branches) for span in self.spans)

    @property
    def mean_branch(self) -> float:
        """Mean tokens of a response."""
        lengths = [length for span in self.spans for length in span.branches]
        return sum(lengths) / len(lengths)

    def tokens(self, device: torch.device) -> Tokens:
        """The place of every token, on this device."""
        made = self.keep(("tokens", device), lambda: Tokens.of(self.spans).to(device))
        return cast(Tokens, made)
