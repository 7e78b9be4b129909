"""Attention over shared prompts against one dense mask, and what it refuses."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import BloomConfig, LlamaConfig, MambaConfig, PreTrainedModel

from luce.errors import ModelError
from luce.models.attention import (
    Kernel,
    SharedRow,
    Variant,
    best_layout,
    choose,
    group_mask,
    implementation,
    plain_implementation,
    shared_prompt_attention,
    using_kernel,
)
from luce.models.attention.exact import dense
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
    for kernel in ("auto", "branch", "exact", "dense"):
        found, _ = shared_prompt_attention(
            nn.Identity(), query, key, value, scaling=0.3, luce=SharedRow(SPANS, kernel)
        )
        torch.testing.assert_close(found.transpose(1, 2), dense, rtol=1e-12, atol=1e-12)


def layer(name: str, number: int | None = 0, **config: Any) -> nn.Module:
    """A layer of a network with this configuration."""
    return type(name, (nn.Module,), {"config": SimpleNamespace(**config), "layer_idx": number})()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"luce": None}, "does not hand the layout"),
        ({"position_bias": torch.zeros(1)}, "uses position_bias"),
        ({"indices": torch.zeros(1)}, "uses indices"),
        ({"is_causal": False}, "not causal"),
        ({"dropout": 0.1}, "drops attention out"),
        ({"luce": SharedRow(SPANS[:2])}, r"from 1 × 17 to 17 tokens; its row has 1 × 12"),
    ],
)
def test_what_it_does_not_compute_it_refuses(given: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"luce": SharedRow(SPANS)} | given
    with pytest.raises(ModelError, match=message):
        shared_prompt_attention(nn.Identity(), heads(4, 0), heads(4, 1), heads(4, 2), **arguments)


def test_groups_that_leave_a_gap_are_refused() -> None:
    with pytest.raises(ModelError, match="starts at token 6 of its row, the one before ends at 0"):
        SharedRow(SPANS[1:])


def asked(module: nn.Module, **given: Any) -> torch.Tensor:
    out, _ = shared_prompt_attention(
        module, heads(4, 0), heads(4, 1), heads(4, 2), luce=SharedRow(SPANS), **given
    )
    return out


def wanted(variant: Variant) -> torch.Tensor:
    return dense(heads(4, 0), heads(4, 1), heads(4, 2), SharedRow(SPANS), variant)


def test_what_a_layer_asks_for_it_gets() -> None:
    plain = layer("Plain", sliding_window=None)
    sinks = torch.linspace(-1, 1, 4).double()
    for given, variant in [
        ({"sliding_window": 3}, Variant(window=3)),
        ({"sliding_window": None}, Variant()),
        ({"softcap": 0.5, "scaling": 2.0}, Variant(scale=2.0, softcap=0.5)),
        ({"s_aux": sinks}, Variant(sinks=sinks)),
        ({"s_aux": sinks, "sliding_window": 2}, Variant(sinks=sinks, window=2)),
    ]:
        torch.testing.assert_close(asked(plain, **given), wanted(variant))


def test_a_chunk_stands_in_the_configuration_only() -> None:
    config = {"attention_chunk_size": 2, "layer_types": ["chunked_attention", "full_attention"]}
    torch.testing.assert_close(asked(layer("Chunked", 0, **config)), wanted(Variant(chunk=2)))
    torch.testing.assert_close(asked(layer("Full", 1, **config)), wanted(Variant()))
    every = layer("Every", 0, attention_chunk_size=2)
    torch.testing.assert_close(asked(every), wanted(Variant(chunk=2)))


def test_a_window_that_a_layer_keeps_to_itself_is_refused() -> None:
    kinds = ["sliding_attention", "full_attention"]
    torch.testing.assert_close(
        asked(layer("Full", 1, sliding_window=3, layer_types=kinds)), wanted(Variant())
    )
    torch.testing.assert_close(
        asked(layer("Off", 0, sliding_window=3, use_sliding_window=False)), wanted(Variant())
    )
    # refused however long it is: a later row may be longer
    for silent in (
        layer("Silent", 0, sliding_window=4096, layer_types=kinds),
        layer("Silent", 0, sliding_window=4096),
    ):
        with pytest.raises(ModelError, match="does not tell its attention of the window of 4096"):
            asked(silent)


def test_autocast_leaves_one_precision_as_torch_does() -> None:
    query, key, value = heads(4, 0).float(), heads(4, 1).float(), heads(4, 2).bfloat16()
    out, _ = shared_prompt_attention(nn.Identity(), query, key, value, luce=SharedRow(SPANS))
    assert out.dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, _ = shared_prompt_attention(
            nn.Identity(), query, key, value.float(), luce=SharedRow(SPANS)
        )
        theirs = scaled_dot_product_attention(query, key, value.float())
    assert ours.dtype == theirs.dtype == torch.bfloat16 and torch.equal(ours, out)


def chosen(
    device: str,
    dtype: torch.dtype,
    variant: Variant | None = None,
    kernel: Kernel = "auto",
    spans: tuple[Span, ...] = SPANS,
    widths: tuple[int, int] = (64, 64),
) -> str:
    row = SharedRow(spans, kernel)
    return choose(torch.device(device), dtype, widths, row, variant or Variant())


def test_the_kernel_follows_from_device_and_variant() -> None:
    full = torch.float32
    assert chosen("cpu", full) == chosen("cpu", torch.bfloat16) == "branch"
    assert chosen("cpu", full, Variant(sinks=torch.zeros(4))) == "branch"
    for variant in (Variant(window=3), Variant(chunk=3), Variant(softcap=1.0)):
        assert chosen("cpu", full, variant) == chosen("cpu", full, variant, "branch") == "exact"
        assert chosen("cpu", full, variant, "dense") == "dense"
    assert chosen("cpu", torch.bfloat16, None, "varlen") == "exact"
    assert chosen("mps", full) == "exact"


def test_a_gpu_takes_ragged_sequences_and_blocks_for_long_responses() -> None:
    half, long = torch.bfloat16, (Span(0, 5, (1000, 1049)),)
    assert chosen("cuda", half) == chosen("cuda", half, Variant(window=3)) == "varlen"
    assert chosen("cuda", half, spans=long) == "flex"
    assert chosen("cuda", half, spans=long, kernel="varlen") == "varlen"
    assert chosen("cuda", torch.float32) == chosen("cuda", half, kernel="branch") == "exact"
    assert chosen("cuda", half, widths=(192, 128)) == chosen("cuda", half, widths=(512, 512))
    assert chosen("cuda", half, widths=(512, 512)) == chosen("cuda", half, widths=(60, 60))
    assert chosen("cuda", half, widths=(60, 60)) == "exact"
    for variant in (Variant(chunk=3), Variant(softcap=1.0), Variant(sinks=torch.zeros(4))):
        assert chosen("cuda", half, variant) == "exact"
        assert chosen("cuda", half, variant, "flex") == "flex"


def test_a_gpu_that_is_too_old_takes_the_exact_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for capability, kernel in (((7, 5), "exact"), ((8, 0), "varlen"), ((9, 0), "varlen")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, c=capability: c)
        assert chosen("cuda", torch.float16) == kernel


def test_rows_laid_out_meanwhile_take_the_kernel_asked_for() -> None:
    with using_kernel("dense"):
        row = SharedRow(SPANS)
    assert row.kernel == "dense" and SharedRow(SPANS).kernel == "auto"


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
        ("llama", "shared", "is causal attention"),
        ("gpt2", "shared", "is causal attention"),
        ("qwen2", "shared", "is causal attention"),
        ("gemma2", "shared", "a window of 6 tokens, soft-capped scores"),
        ("mistral_window", "shared", "a window of 5 tokens"),
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
