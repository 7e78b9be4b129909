"""The kernel against log_softmax, in float64 and with gradients."""

import pytest
import torch
from torch import Tensor

from luce.models.logprob import linear_log_prob

TOKENS, HIDDEN, VOCABULARY = 11, 6, 37


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def naive(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None,
    softcap: float | None,
    scale: float,
) -> Tensor:
    logits = hidden @ weight.t()
    if bias is not None:
        logits = logits + bias
    logits = logits * scale
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    return logits.log_softmax(-1)[torch.arange(len(targets)), targets]


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("scale", [1.0, 0.3])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("chunk", [1, 4, 512])
def test_values_and_gradients_are_those_of_log_softmax(
    softcap: float | None, scale: float, with_bias: bool, chunk: int
) -> None:
    targets = torch.arange(TOKENS) * 3
    upstream = random(TOKENS, seed=9)
    results = []
    for kernel in (True, False):
        hidden = random(TOKENS, HIDDEN, seed=1).requires_grad_()
        weight = random(VOCABULARY, HIDDEN, seed=2).requires_grad_()
        bias = random(VOCABULARY, seed=3).requires_grad_() if with_bias else None
        if kernel:
            found = linear_log_prob(hidden, weight, targets, bias, softcap, scale, chunk)
        else:
            found = naive(hidden, weight, targets, bias, softcap, scale)
        (found * upstream).sum().backward()
        results.append(
            [found, hidden.grad, weight.grad, *([bias.grad] if bias is not None else [])]
        )
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("softcap", [None, 2.0])
def test_a_frozen_head_gives_the_same_gradient_of_the_hidden_states(softcap: float | None) -> None:
    targets = torch.arange(TOKENS)
    gradients = []
    for trained in (True, False):
        hidden = random(TOKENS, HIDDEN, seed=1).requires_grad_()
        weight = random(VOCABULARY, HIDDEN, seed=2).requires_grad_(trained)
        values = linear_log_prob(hidden, weight, targets, None, softcap, 0.7, chunk=4)
        (values * random(TOKENS, seed=5)).sum().backward()
        gradients.append(hidden.grad)
        assert (weight.grad is None) != trained
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("hidden_too", [False, True])
def test_of_the_head_only_a_bias_may_be_trained(hidden_too: bool) -> None:
    hidden, weight = random(TOKENS, HIDDEN), random(VOCABULARY, HIDDEN)
    hidden.requires_grad_(hidden_too)
    bias = torch.zeros(VOCABULARY, dtype=torch.float64, requires_grad=True)
    linear_log_prob(hidden, weight, torch.arange(TOKENS), bias, chunk=4).sum().backward()
    expected = torch.bincount(torch.arange(TOKENS), minlength=VOCABULARY) - (
        (hidden @ weight.t()).softmax(-1).sum(0)
    )
    torch.testing.assert_close(bias.grad, expected)


@pytest.mark.parametrize("frozen", [False, True])
def test_nothing_of_the_size_of_the_vocabulary_is_kept_for_the_backward_pass(frozen: bool) -> None:
    tokens = 50
    hidden = random(tokens, HIDDEN).requires_grad_()
    weight = random(VOCABULARY, HIDDEN).requires_grad_(not frozen)
    kept: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        linear_log_prob(hidden, weight, torch.zeros(tokens, dtype=torch.long), chunk=4)
    assert max(kept) < tokens * VOCABULARY


def test_sixteen_bit_inputs_give_float32_and_gradients_in_their_own_dtype() -> None:
    hidden = random(TOKENS, HIDDEN, dtype=torch.float32).bfloat16().requires_grad_()
    weight = random(VOCABULARY, HIDDEN, dtype=torch.float32, seed=2).requires_grad_()
    targets = torch.arange(TOKENS)
    values = linear_log_prob(hidden, weight, targets)
    expected = naive(hidden.float(), weight.bfloat16().float(), targets, None, None, 1.0)
    values.sum().backward()
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, expected, atol=0.05, rtol=0.0)
    assert hidden.grad is not None and hidden.grad.dtype == torch.bfloat16
    assert weight.grad is not None and weight.grad.dtype == torch.float32


def test_autocast_around_it_changes_nothing() -> None:
    hidden, weight = random(TOKENS, HIDDEN).float(), random(VOCABULARY, HIDDEN, seed=2).float()
    targets = torch.arange(TOKENS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = linear_log_prob(hidden, weight, targets)
    assert torch.equal(inside, linear_log_prob(hidden, weight, targets))


def test_large_logits_stay_finite_with_finite_gradients() -> None:
    hidden = (random(TOKENS, HIDDEN) * 1e4).float().requires_grad_()
    weight = random(VOCABULARY, HIDDEN, seed=2).float().requires_grad_()
    values = linear_log_prob(hidden, weight, torch.arange(TOKENS), chunk=3)
    values.sum().backward()
    assert torch.isfinite(values).all() and (values <= 0).all()
    assert torch.isfinite(hidden.grad).all() and torch.isfinite(weight.grad).all()
