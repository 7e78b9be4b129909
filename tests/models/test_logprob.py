"""The kernel against log_softmax, in float64 and with gradients."""

import weakref

import pytest
import torch
from torch import Tensor

from luce.models import logprob_kernel
from luce.models.logprob import Output, linear_log_prob, linear_values

TOKENS, HIDDEN, VOCABULARY = 11, 6, 37


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def naive(output: Output, targets: Tensor) -> Tensor:
    logits = output.hidden @ output.weight.t()
    if output.low_rank is not None:
        logits = logits + output.low_rank[0] @ output.low_rank[1].t()
    if output.bias is not None:
        logits = logits + output.bias
    logits = logits * output.scale
    if output.softcap is not None:
        logits = output.softcap * torch.tanh(logits / output.softcap)
    return logits.log_softmax(-1)[torch.arange(len(targets)), targets]


def layer(
    dtype: torch.dtype = torch.float64,
    softcap: float | None = None,
    scale: float = 1.0,
    bias: bool = False,
    low_rank: bool = False,
    frozen: bool = False,
) -> tuple[Output, list[Tensor]]:
    """An output layer and those of its tensors that have a gradient."""
    hidden = random(TOKENS, HIDDEN, seed=1, dtype=dtype).requires_grad_()
    weight = random(VOCABULARY, HIDDEN, seed=2, dtype=dtype).requires_grad_(not frozen)
    b = random(VOCABULARY, seed=3, dtype=dtype).requires_grad_(not frozen) if bias else None
    adapter = None
    if low_rank:
        adapter = (
            random(TOKENS, 2, seed=4, dtype=dtype).requires_grad_(),
            random(VOCABULARY, 2, seed=5, dtype=dtype).requires_grad_(),
        )
    output = Output(hidden, weight, b, softcap, scale, adapter)
    tensors = [t for t in (hidden, weight, b, *(adapter or ())) if t is not None]
    return output, [t for t in tensors if t.requires_grad]


STORES = {"recompute": 0, "partly": 8 * 16 * 4, "store": 1 << 30}
"""What may be kept of the softmax: nothing, two tiles of 4 × 16 at most, everything."""


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("scale", [1.0, 0.3])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("low_rank", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("tile", [(1, 16), (4, 5), (512, 512)])
@pytest.mark.parametrize("store", STORES)
def test_values_and_gradients_are_those_of_log_softmax(
    softcap: float | None,
    scale: float,
    bias: bool,
    low_rank: bool,
    frozen: bool,
    tile: tuple[int, int],
    store: str,
) -> None:
    targets = torch.arange(TOKENS) * 3
    upstream = random(TOKENS, seed=9)
    mine, tensors = layer(torch.float64, softcap, scale, bias, low_rank, frozen)
    found, _ = linear_values(mine, targets, tile=tile, store=STORES[store])
    expected = naive(mine, targets)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    gradients = torch.autograd.grad((found * upstream).sum(), tensors)
    for a, b in zip(
        gradients, torch.autograd.grad((expected * upstream).sum(), tensors), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("store", STORES)
def test_float32_keeps_its_digits_where_a_token_is_nearly_certain(store: str) -> None:
    targets = torch.arange(TOKENS)
    weight = random(VOCABULARY, HIDDEN, seed=2)
    towards = weight[targets] / weight[targets].square().sum(1, keepdim=True)
    hidden = 30 * towards * (targets % 2)[:, None] + random(TOKENS, HIDDEN, seed=1)

    def run(dtype: torch.dtype) -> tuple[Tensor, ...]:
        h, w = (t.detach().float().to(dtype).requires_grad_() for t in (hidden, weight))
        if dtype == torch.float32:
            values = linear_log_prob(h, w, targets, tile=(4, 16), store=STORES[store])
        else:
            values = naive(Output(h, w), targets)
        return values.detach(), *torch.autograd.grad(values.sum(), [h, w])

    exact = run(torch.float64)
    assert float(exact[0].max()) > -1e-3
    for found, expected in zip(run(torch.float32), exact, strict=True):
        off = (found - expected).abs().max() / expected.abs().max()
        assert float(off) <= 2e-6


@pytest.mark.parametrize("hidden_too", [False, True])
def test_of_the_head_only_a_bias_may_be_trained(hidden_too: bool) -> None:
    hidden, weight = random(TOKENS, HIDDEN), random(VOCABULARY, HIDDEN)
    hidden.requires_grad_(hidden_too)
    bias = torch.zeros(VOCABULARY, dtype=torch.float64, requires_grad=True)
    linear_log_prob(hidden, weight, torch.arange(TOKENS), bias, tile=(4, 16)).sum().backward()
    expected = torch.bincount(torch.arange(TOKENS), minlength=VOCABULARY) - (
        (hidden @ weight.t()).softmax(-1).sum(0)
    )
    torch.testing.assert_close(bias.grad, expected)


class Kept:
    """Sizes of the tensors that autograd keeps while the context lasts."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._note, lambda t: t)

    def _note(self, tensor: Tensor) -> Tensor:
        self.sizes.append(tensor.numel())
        return tensor

    def __enter__(self) -> "Kept":
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._hooks.__exit__(*error)


@pytest.mark.parametrize(
    ("frozen", "store", "tiles"),
    [(True, 1 << 30, 0), (False, 0, 0), (False, 8 * 12 * 21, 5), (False, 1 << 30, 15)],
)
def test_of_the_softmax_is_kept_what_fits_and_nothing_where_the_layer_is_frozen(
    frozen: bool, store: int, tiles: int
) -> None:
    tokens, vocabulary, width = 20, 36, 12
    hidden = random(tokens, HIDDEN).requires_grad_()
    weight = random(vocabulary, HIDDEN).requires_grad_(not frozen)
    targets = torch.zeros(tokens, dtype=torch.long)
    with Kept() as kept:
        linear_log_prob(hidden, weight, targets, tile=(4, width), store=store)
    assert kept.sizes.count(4 * width) == tiles
    assert max(kept.sizes) < tokens * vocabulary


@pytest.mark.parametrize("recording", [False, True])
def test_nothing_is_kept_where_there_is_no_backward_pass(
    recording: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every tile that is made, none but the last is alive when the pass is over."""
    tiles: list[weakref.ref[torch.UntypedStorage]] = []
    softmax = logprob_kernel._softmax

    def noted(z: Tensor) -> tuple[Tensor, Tensor]:
        p, normalizer = softmax(z)
        tiles.append(weakref.ref(p.untyped_storage()))
        alive.append(len({id(s) for s in (tile() for tile in tiles) if s is not None}))
        return p, normalizer

    alive: list[int] = []
    monkeypatch.setattr(logprob_kernel, "_softmax", noted)
    hidden, weight = random(TOKENS, HIDDEN), random(VOCABULARY, HIDDEN).requires_grad_()
    with torch.set_grad_enabled(recording):
        values = linear_log_prob(hidden, weight, torch.arange(TOKENS), tile=(4, 16))
    assert values.requires_grad == recording
    assert len(tiles) == 9 and max(alive) == (9 if recording else 1)


def test_a_graph_may_be_differentiated_twice() -> None:
    output, tensors = layer()
    values, _ = linear_values(output, torch.arange(TOKENS), tile=(4, 16), store=1 << 30)
    first = torch.autograd.grad(values.sum(), tensors, retain_graph=True)
    second = torch.autograd.grad(values.sum(), tensors)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("frozen", [False, True])
def test_sixteen_bits_are_no_further_from_float32_than_the_plain_computation(
    frozen: bool, store: str
) -> None:
    """The plain one: a linear layer under autocast, its logits in float32, log_softmax."""
    tokens, hidden_size, vocabulary = 64, 32, 500
    start = random(tokens, hidden_size, seed=1, dtype=torch.float32).bfloat16()
    targets = torch.arange(tokens)
    upstream = random(tokens, seed=3, dtype=torch.float32)

    def run(way: str) -> list[Tensor]:
        hidden = start.clone().requires_grad_()
        weight = random(vocabulary, hidden_size, seed=2, dtype=torch.float32).mul_(0.3)
        weight.requires_grad_(not frozen)
        if way == "kernel":
            values = linear_log_prob(hidden, weight, targets, tile=(32, 128), store=STORES[store])
        elif way == "plain":
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = torch.nn.functional.linear(hidden, weight)
            values = logits.float().log_softmax(-1)[torch.arange(tokens), targets]
        else:
            values = naive(Output(hidden.float(), weight), targets)
        wanted = [hidden] if frozen else [hidden, weight]
        found = torch.autograd.grad((values * upstream).sum(), wanted)
        assert values.dtype == torch.float32
        assert [g.dtype for g in found] == [t.dtype for t in wanted]
        return [values.detach(), *(g.float() for g in found)]

    exact, mine, plain = run("exact"), run("kernel"), run("plain")
    for truth, found, other in zip(exact, mine, plain, strict=True):
        assert float((found - truth).norm()) <= 1.5 * float((other - truth).norm())


def test_autocast_around_it_changes_nothing() -> None:
    hidden, weight = random(TOKENS, HIDDEN).float(), random(VOCABULARY, HIDDEN, seed=2).float()
    targets = torch.arange(TOKENS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = linear_log_prob(hidden, weight, targets)
    assert torch.equal(inside, linear_log_prob(hidden, weight, targets))


def test_large_logits_stay_finite_with_finite_gradients() -> None:
    hidden = (random(TOKENS, HIDDEN) * 1e4).float().requires_grad_()
    weight = random(VOCABULARY, HIDDEN, seed=2).float().requires_grad_()
    values = linear_log_prob(hidden, weight, torch.arange(TOKENS), tile=(3, 16))
    values.sum().backward()
    assert torch.isfinite(values).all() and (values <= 0).all()
    for gradient in (hidden.grad, weight.grad):
        assert gradient is not None and torch.isfinite(gradient).all()
