"""The passes behind `linear_values`: a softmax over tiles of tokens × vocabulary.

Forward, of every tile: logits z, their softmax within the tile P = exp(z − ℓ) and its normalizer ℓ.
The normalizers of a token's tiles give that of the whole, L = log Σ exp ℓ, and p = P · exp(ℓ − L).
Backward, of every tile: G = ∂cost/∂(W h + B a + b), and from it G W, Gᵀ h and the like. A tile is
small enough for the caches of a CPU: a pass over it costs little beside the product that made it.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from luce.models.logprob_tiles import Output, Settings, accumulation_dtype, add_product, view


class LinearValues(torch.autograd.Function):
    """(hidden, weight, bias, inner, outer, targets, settings) → (log p, KL, Σ p², entropy); what
    was not asked for is None, and the last two have no gradient.

    Three ways to the gradient, counted in products of tokens × vocabulary × hidden:

    - nothing but `hidden` needs one: its Jacobian is made in the forward pass (2);
    - tiles of P are kept for the backward pass, as many as `settings.store` has room for (3);
    - the others are made again (4).
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        inner: Tensor | None,
        outer: Tensor | None,
        targets: Tensor,
        settings: Settings,
    ) -> tuple[Tensor | None, ...]:
        needs = ctx.needs_input_grad[:5]
        frozen = settings.recording and needs[0] and not any(needs[1:])
        keeps = settings.recording and any(needs) and not frozen and settings.reference is None
        output = settings.layer(hidden, weight, bias, inner, outer)
        room, buffer = settings.store if keeps else -1, settings.buffer(output)
        found: dict[str, list[Tensor]] = {}
        stored: list[Tensor] = []
        with torch.autocast(hidden.device.type, enabled=False):
            for rows, parts in settings.tiles(output):
                stream = _Stream(output, rows, targets, settings, frozen)
                for columns in parts:
                    size = (rows.stop - rows.start) * (columns.stop - columns.start)
                    room -= size * hidden.element_size()
                    into = buffer
                    if room >= 0 and buffer is not None and buffer.dtype == hidden.dtype:
                        into = buffer.new_empty(size)
                    tile = stream.take(columns, into)
                    if room >= 0:
                        stored.append(tile.to(hidden.dtype))
                for name, value in stream.finish().items():
                    found.setdefault(name, []).append(value)
        of = {name: torch.cat(values) for name, values in found.items()}
        ctx.settings, ctx.frozen = settings, frozen
        if frozen:
            ctx.save_for_backward(of["jacobian"].to(hidden.dtype), of.get("kl_jacobian"))
        else:
            numbers = targets, of["log_prob"], of["slope"], of["share"], of.get("share_q")
            ctx.save_for_backward(hidden, weight, bias, inner, outer, *numbers, *stored)
        ctx.mark_non_differentiable(*(of[name] for name in ("sum_p2", "entropy") if name in of))
        return of["log_prob"], of.get("kl"), of.get("sum_p2"), of.get("entropy")

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, upstream: Tensor, kl_upstream: Tensor | None, *_: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        settings: Settings = ctx.settings
        if ctx.frozen:
            jacobian, kl_jacobian = ctx.saved_tensors
            gradient = upstream[:, None] * jacobian
            if kl_jacobian is not None and kl_upstream is not None:
                gradient = gradient + kl_upstream[:, None] * kl_jacobian
            return gradient.to(jacobian.dtype), *[None] * 6
        hidden, weight, bias, inner, outer, *saved = ctx.saved_tensors
        targets, log_prob, slope, share, share_q = saved[:5]
        output = settings.layer(hidden, weight, bias, inner, outer)
        gradients = _Gradients(output, ctx.needs_input_grad)
        # of Σ upstream · log p + kl_upstream · KL by z: upstream (1[y] − p) + kl_upstream (p − q)
        of_p, at_target = -upstream, -upstream * log_prob.expm1()
        of_q: Tensor | None = None
        if share_q is not None and kl_upstream is not None:
            of_p = of_p + kl_upstream
            of_q = share_q * (settings.scale * kl_upstream)[:, None]
            at_target = at_target + kl_upstream * log_prob.exp()
        of_p, at_target = settings.scale * of_p, settings.scale * slope * at_target
        buffer, kept = settings.buffer(output), iter(saved[5:])
        with torch.autocast(hidden.device.type, enabled=False):
            for rows, parts in settings.tiles(output):
                for number, columns in enumerate(parts):
                    tile, bend = next(kept, None), None
                    factor = (share[rows, number] * of_p[rows])[:, None]
                    if tile is not None:
                        into = None if buffer is None else view(buffer, *tile.shape)
                        tile = torch.mul(tile, factor, out=into)  # the stored one stays as it is
                    else:
                        z = output.logits(rows, columns, buffer)
                        bend = output.slope(z)
                        tile = _softmax(z)[0].mul_(factor)
                        if bend is not None:
                            tile *= bend
                    _Spots(targets[rows], columns).write(tile, at_target[rows])
                    if of_q is not None and settings.reference is not None:
                        q = _softmax(settings.reference.logits(rows, columns))[0]
                        q *= of_q[rows, number, None]
                        tile -= q if bend is None else q.mul_(bend)
                    gradients.add(tile, rows, columns)
        return *gradients.result(), None, None


class _Stream:
    """What is known of some tokens while the tiles of their vocabulary pass by."""

    def __init__(
        self, output: Output, rows: slice, targets: Tensor, settings: Settings, jacobian: bool
    ) -> None:
        self.output, self.rows, self.targets, self.settings = output, rows, targets[rows], settings
        hidden, dtype = output.hidden[rows], accumulation_dtype(output.hidden)
        self.target = hidden.new_zeros(len(hidden), dtype=dtype)
        self.found: dict[str, list[Tensor]] = {}
        self.of_p = _Running(hidden, dtype) if jacobian else None
        self.of_q = _Running(hidden, dtype) if jacobian and settings.reference else None

    def take(self, columns: slice, into: Tensor | None) -> Tensor:
        """P · slope of the next tile."""
        output, wanted = self.output, self.settings.columns
        z = output.logits(self.rows, columns, into)
        spots = _Spots(self.targets, columns)
        self.target = spots.read(z, self.target)
        slope, head = output.slope(z), output.weight[columns]
        if self.settings.reference is not None:
            w = self.settings.reference.logits(self.rows, columns)
            apart = w - z
            q, normalizer_q = _softmax(w)
            self._note(normalizer_q=normalizer_q, kl=apart.mul_(q).sum(1))
            if self.of_q is not None:
                self.of_q.add(q if slope is None else q.mul_(slope), normalizer_q, head)
        p, normalizer = _softmax(z)
        self._note(normalizer=normalizer)
        if "sum_p2" in wanted:
            self._note(sum_p2=torch.linalg.vector_norm(p, dim=1).square_())
        if "entropy" in wanted:
            self._note(entropy=torch.special.entr(p).sum(1))
        if slope is not None:
            p *= slope
        if self.of_p is not None:
            # the target's own part comes at the end, as 1 − p without the rounding of p
            spots.write(p, torch.zeros_like(self.target))
            self.of_p.add(p, normalizer, head)
        return p

    def _note(self, **values: Tensor) -> None:
        for name, value in values.items():
            self.found.setdefault(name, []).append(value)

    def finish(self) -> dict[str, Tensor]:
        """Of each token: log_prob, columns, the slope at its target, the shares of its tiles in
        its distribution, and Jacobians where they are made."""
        found = {name: torch.stack(values, 1) for name, values in self.found.items()}
        normalizer = found["normalizer"].logsumexp(1)
        share = (found["normalizer"] - normalizer[:, None]).exp_()
        log_prob, slope = self.target - normalizer, self.output.slope(self.target)
        slope = torch.ones_like(log_prob) if slope is None else slope
        result = {"log_prob": log_prob, "slope": slope, "share": share}
        if "sum_p2" in found:
            result["sum_p2"] = (found["sum_p2"] * share.square()).sum(1)
        if "entropy" in found:
            # p = share · P: −Σ p log p = −share Σ P log P − share log share
            result["entropy"] = (found["entropy"] * share + torch.special.entr(share)).sum(1)
        if "kl" in found:
            normalizer_q = found["normalizer_q"].logsumexp(1)
            result["share_q"] = (found["normalizer_q"] - normalizer_q[:, None]).exp_()
            result["kl"] = (found["kl"] * result["share_q"]).sum(1) - normalizer_q + normalizer
        if self.of_p is not None:
            scale = self.output.scale
            head = self.output.weight[self.targets].to(log_prob.dtype) * slope[:, None]
            result["jacobian"] = scale * (head * -log_prob.expm1()[:, None] - self.of_p.sum)
            if self.of_q is not None:
                apart = self.of_p.sum - self.of_q.sum
                result["kl_jacobian"] = scale * (head * log_prob.exp()[:, None] + apart)
        return result


class _Running:
    """Σ_v p(v) slope(v) W[v] over the tiles seen, rescaled as the normalizer grows."""

    def __init__(self, hidden: Tensor, dtype: torch.dtype) -> None:
        self.like = hidden.dtype
        self.sum = torch.zeros_like(hidden, dtype=dtype)
        self.normalizer = hidden.new_full((len(hidden),), -torch.inf, dtype=dtype)

    def add(self, tile: Tensor, normalizer: Tensor, head: Tensor) -> None:
        """Take in a tile of P · slope, whose numbers are overwritten."""
        whole = torch.logaddexp(self.normalizer, normalizer)
        self.sum *= (self.normalizer - whole).exp_()[:, None]
        tile *= (normalizer - whole).exp_()[:, None]
        add_product(self.sum, tile.to(self.like), head.to(self.like))
        self.normalizer = whole


class _Spots:
    """Where the targets of some tokens are in a tile: most are not in it."""

    def __init__(self, targets: Tensor, columns: slice) -> None:
        self.inside = (targets >= columns.start) & (targets < columns.stop)
        self.index = torch.where(self.inside, targets - columns.start, 0)[:, None]

    def read(self, tile: Tensor, elsewhere: Tensor) -> Tensor:
        """The target's entry where it is in this tile, else `elsewhere`."""
        return torch.where(self.inside, tile.gather(1, self.index)[:, 0], elsewhere)

    def write(self, tile: Tensor, values: Tensor) -> None:
        """Put `values` at the targets that are in this tile."""
        kept = tile.gather(1, self.index)
        tile.scatter_(1, self.index, torch.where(self.inside[:, None], values[:, None], kept))


class _Gradients:
    """Of hidden, weight, bias, inner and outer, as far as they are needed, in the accumulation
    dtype; the first tile of a sum overwrites, the others add."""

    def __init__(self, output: Output, needs: tuple[bool, ...]) -> None:
        self.output = output
        self.inputs = output.hidden, output.weight, output.bias, *(output.low_rank or (None, None))
        dtype = accumulation_dtype(output.hidden)
        make = torch.empty_like if len(output.hidden) else torch.zeros_like
        self.sums = [
            make(tensor, dtype=dtype) if needed and tensor is not None else None
            for tensor, needed in zip(self.inputs, needs, strict=False)
        ]

    def add(self, tile: Tensor, rows: slice, columns: slice) -> None:
        """Take in G of a tile."""
        hidden, weight, bias, inner, outer = self.sums
        dtype = self.output.hidden.dtype
        new_rows, new_columns = columns.start == 0, rows.start == 0
        if bias is not None:
            total = tile.sum(0)
            bias[columns] = total if new_columns else bias[columns] + total
        tile = tile.to(dtype)
        if hidden is not None:
            add_product(hidden[rows], tile, self.output.weight[columns].to(dtype), new_rows)
        if weight is not None:
            add_product(weight[columns], tile.t(), self.output.hidden[rows], new_columns)
        if self.output.low_rank is not None:
            a, b = (tensor.to(dtype) for tensor in self.output.low_rank)
            if inner is not None:
                add_product(inner[rows], tile, b[columns], new_rows)
            if outer is not None:
                add_product(outer[columns], tile.t(), a[rows], new_columns)

    def result(self) -> list[Tensor | None]:
        """The gradients, each in the dtype of what it is of."""
        return [
            None if total is None or of is None else total.to(of.dtype)
            for total, of in zip(self.sums, self.inputs, strict=True)
        ]


def _softmax(z: Tensor) -> tuple[Tensor, Tensor]:
    """The softmax over each row, on a CPU in the place of `z`, and its normalizer log Σ exp z.

    The largest probability of a row is 1/Σ exp(z − max z): one fused pass gives both."""
    top = z.amax(1)
    p = torch.softmax(z, 1, out=None if z.is_cuda else z)
    return p, top - p.amax(1).log_()
