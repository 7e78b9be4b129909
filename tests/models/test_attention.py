"""Attention over shared prompts against one dense mask, and what it refuses."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import BloomConfig, LlamaConfig, MambaConfig, PreTrainedModel

from luce.errors import ModelError
from luce.models.attention import (
    SharedRow,
    best_layout,
    group_mask,
    implementation,
    plain_implementation,
    shared_prompt_attention,
)
from luce.types import Span

SPANS = (Span(0, 3, (2, 1)), Span(6, 2, (4,)), Span(12, 1, (0, 2, 2)))


def heads(count: int, seed: int) -> torch.Tensor:
    return torch.randn(1, count, 17, 8, generator=torch.Generator().manual_seed(seed)).double()


def test_a_response_sees_its_prompt_and_itself_only() -> None:
    seen = group_mask(Span(0, 2, (2, 1))).int().tolist()
    assert seen == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]


@pytest.mark.parametrize("key_heads", [4, 2, 1])
def test_group_by_group_is_one_dense_mask(key_heads: int) -> None:
    query, key, value = heads(4, 0), heads(key_heads, 1), heads(key_heads, 2)
    mask = torch.block_diag(*[group_mask(s).int() for s in SPANS]).bool()
    repeats = 4 // key_heads
    dense = scaled_dot_product_attention(
        query,
        key.repeat_interleave(repeats, 1),
        value.repeat_interleave(repeats, 1),
        attn_mask=mask,
        scale=0.3,
    )
    found, _ = shared_prompt_attention(
        nn.Identity(), query, key, value, scaling=0.3, luce=SharedRow(SPANS)
    )
    torch.testing.assert_close(found.transpose(1, 2), dense, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"luce": None}, "does not hand the layout"),
        ({"softcap": 30.0}, "uses softcap"),
        ({"s_aux": torch.zeros(4)}, "uses s_aux"),
        ({"position_bias": torch.zeros(1)}, "uses position_bias"),
        ({"sliding_window": 3}, "a window of 3 tokens"),
    ],
)
def test_what_it_does_not_compute_it_refuses(given: dict[str, Any], message: str) -> None:
    arguments = {"luce": SharedRow(SPANS)} | given
    with pytest.raises(ModelError, match=message):
        shared_prompt_attention(nn.Identity(), heads(4, 0), heads(4, 1), heads(4, 2), **arguments)


def test_a_window_as_long_as_the_longest_sequence_is_no_window() -> None:
    row = SharedRow(SPANS)
    arguments = (nn.Identity(), heads(4, 0), heads(4, 1), heads(4, 2))
    with_window, _ = shared_prompt_attention(*arguments, sliding_window=row.longest, luce=row)
    without, _ = shared_prompt_attention(*arguments, luce=row)
    assert torch.equal(with_window, without)


def test_an_attention_that_is_not_causal_is_refused() -> None:
    module = nn.Identity()
    module.is_causal = False  # type: ignore[assignment]
    with pytest.raises(ModelError, match="not causal"):
        shared_prompt_attention(
            module, heads(4, 0), heads(4, 1), heads(4, 2), luce=SharedRow(SPANS)
        )


@pytest.mark.parametrize(
    ("name", "layout", "reason"),
    [
        ("llama", "shared", "plain causal"),
        ("gpt2", "shared", "plain causal"),
        ("qwen2", "shared", "plain causal"),
        ("gemma2", "packed", "soft-capped"),
        ("mistral_window", "packed", "window of 5 tokens"),
    ],
)
def test_the_layout_follows_from_the_configuration(
    name: str, layout: str, reason: str, network: Callable[..., PreTrainedModel]
) -> None:
    found, why = best_layout(network(name), dropout=False)
    assert found == layout and reason in why


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (MambaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, state_size=2), "state"),
        (BloomConfig(vocab_size=50, hidden_size=16, n_layer=1, n_head=2), "no position ids"),
    ],
)
def test_what_cannot_tell_sequences_apart_is_padded(config: Any, reason: str) -> None:
    from transformers import AutoModelForCausalLM

    layout, why = best_layout(AutoModelForCausalLM.from_config(config), dropout=False)
    assert layout == "padded" and reason in why


def test_dropout_keeps_prompts_apart(network: Callable[..., PreTrainedModel]) -> None:
    assert best_layout(network("llama"), dropout=True)[0] == "packed"


def test_the_attention_comes_back_after_a_change(network: Callable[..., PreTrainedModel]) -> None:
    model = network("llama")
    before = model.config._attn_implementation
    with implementation(model, "luce"):
        assert model.config._attn_implementation == "luce"
        assert model.model.layers[0].self_attn.config._attn_implementation == "luce"
    assert model.config._attn_implementation == before == plain_implementation(model)
    assert isinstance(model.config, LlamaConfig)
