"""Planted faults: what computes something else is found and not used."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AttentionInterface,
    AutoModelForCausalLM,
    CohereConfig,
    GraniteConfig,
    MistralConfig,
    NemotronConfig,
    PreTrainedModel,
)

from luce.data.pack import pack
from luce.models import attention
from luce.models.policy import CausalPolicy, self_check
from luce.models.reward import load_reward_model
from luce.models.self_check import probe
from luce.types import Group

SMALL = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "pad_token_id": 2,
    "bos_token_id": 0,
    "eos_token_id": 1,
}


@pytest.fixture
def wrong_attention() -> Iterator[None]:
    """The registered attention without its mask: responses see each other."""

    def causal(module: nn.Module, q: Tensor, k: Tensor, v: Tensor, *rest: Any, **kw: Any) -> Any:
        row = kw["luce"]
        row.calls += 1
        out = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return out.transpose(1, 2).contiguous(), None

    AttentionInterface.register("luce", causal)
    yield
    AttentionInterface.register("luce", attention.shared_prompt_attention)


@pytest.mark.usefixtures("wrong_attention")
def test_responses_that_see_each_other_are_noticed(
    policy: Callable[..., CausalPolicy], groups: list[Group]
) -> None:
    model = policy("llama")
    assert model.layout == "packed"
    assert "layout shared failed its check (off by" in model.layout_reason
    assert len(model.warnings) == 1
    torch.testing.assert_close(
        model.log_probs(pack(groups)).detach(), model.plain_log_probs(pack(groups))
    )


def test_layers_that_pass_the_attention_by_are_noticed(
    policy: Callable[..., CausalPolicy], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = property(lambda row: 1, lambda row, count: None)
    monkeypatch.setattr(attention.SharedRow, "calls", one, raising=False)
    model = policy("llama")
    assert model.layout == "packed" and "1 of 2 layers" in model.warnings[0]


def test_a_fault_that_comes_later_is_found_on_the_rows_given(
    policy: Callable[..., CausalPolicy], groups: list[Group], request: pytest.FixtureRequest
) -> None:
    model = policy("llama")
    assert model.layout == "shared" and self_check(model, pack(groups)) == ()
    request.getfixturevalue("wrong_attention")
    assert "off by" in self_check(model, pack(groups))[0]
    assert model.layout == "packed" and model.module.training


@pytest.fixture
def wrong_in_half() -> Iterator[None]:
    """The registered attention, wrong where a 16-bit kernel would run."""

    def planted(module: nn.Module, q: Tensor, k: Tensor, v: Tensor, *rest: Any, **kw: Any) -> Any:
        out, _ = attention.shared_prompt_attention(module, q, k, v, *rest, **kw)
        return out if v.dtype == torch.float32 else -out, None  # rotation widens q

    AttentionInterface.register("luce", planted)
    yield
    AttentionInterface.register("luce", attention.shared_prompt_attention)


@pytest.mark.parametrize("how", ["autocast", "weights"])
def test_a_fault_of_16_bits_alone_is_found(
    how: str, policy: Callable[..., CausalPolicy], groups: list[Group], request: Any
) -> None:
    model = policy("llama", dtype=torch.float32 if how == "autocast" else torch.bfloat16)
    model.autocast = torch.bfloat16 if how == "autocast" else None
    assert self_check(model, pack(groups)) == () and model.layout == "shared"
    request.getfixturevalue("wrong_in_half")
    assert "layout shared failed its check (off by" in self_check(model, pack(groups))[0]
    assert model.layout == "packed"


def test_a_given_tolerance_does_not_tighten_that_of_16_bits(
    policy: Callable[..., CausalPolicy], groups: list[Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network too large for a float32 copy is checked in its own precision."""
    monkeypatch.setattr("luce.models.policy.FLOAT32_TWIN", 0)
    model = policy("llama", dtype=torch.bfloat16)
    assert self_check(model, pack(groups), tolerance=1e-9) == ()
    assert model.layout == "shared"


def test_reward_models_are_checked_on_the_rows_given(
    tiny_model_dir: Path, groups: list[Group], request: pytest.FixtureRequest
) -> None:
    for g in groups:
        for branch in g.branches:
            branch.ids[-1] = 1  # the reward is read where the response ends
    model = load_reward_model(str(tiny_model_dir))
    row = pack(groups, keep_last=True)
    assert model.layout == "shared" and model.self_check(row) == ()
    request.getfixturevalue("wrong_attention")
    assert "off by" in model.self_check(row)[0]
    assert model.layout == "packed" and model.module.training


def test_a_window_longer_than_the_probe_is_checked_on_the_rows_given(
    tiny_tokenizer: Any, group: Callable[..., Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("luce.models.attention.hook._window", lambda module, said: None)
    config = MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=20)
    model = CausalPolicy(tiny(config), tiny_tokenizer, "mistral")
    assert model.layout == "shared"
    short, long = [*range(5, 15)], [*range(5, 30)]
    assert self_check(model, pack([group(short, [31, 1], [32, 33, 1])])) == ()
    assert model.layout == "shared"
    assert "off by" in self_check(model, pack([group(long, [31, 1], [32, 33, 1])]))[0]
    assert model.layout == "packed"


def tiny(config: Any) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(0, 0.25)
    return model


def test_an_architecture_that_drops_the_layout_is_found(tiny_tokenizer: Any) -> None:
    model = CausalPolicy(
        tiny(NemotronConfig(**SMALL, num_key_value_heads=4)), tiny_tokenizer, "nemotron"
    )
    assert model.layout == "packed" and "does not hand the layout" in model.layout_reason


@pytest.mark.parametrize(
    "config",
    [CohereConfig(**SMALL, logit_scale=0.3), GraniteConfig(**SMALL, logits_scaling=3.0)],
    ids=["cohere", "granite"],
)
def test_scaled_logits_go_through_the_kernel(config: Any, tiny_tokenizer: Any) -> None:
    model = CausalPolicy(tiny(config), tiny_tokenizer, "scaled")
    assert model.head == "kernel"
    row = probe(300)
    torch.testing.assert_close(model.log_probs(row).detach(), model.plain_log_probs(row))


def test_an_unknown_treatment_of_logits_is_found_and_the_forward_used(
    network: Callable[..., PreTrainedModel], tiny_tokenizer: Any
) -> None:
    odd = network("llama")
    plain_forward = type(odd).forward

    class Odd(type(odd)):  # type: ignore[misc]
        def forward(self, *args: Any, logits_to_keep: Any = 0, **kwargs: Any) -> Any:
            out = plain_forward(self, *args, logits_to_keep=logits_to_keep, **kwargs)
            out.logits = out.logits * 1.7
            return out

        def get_decoder(self) -> Any:
            return self.model

    odd.__class__ = Odd
    model = CausalPolicy(odd, tiny_tokenizer, "odd", layout="padded")
    assert model.head == "forward" and "kernel is off" in model.head_reason
    row = probe(300)
    torch.testing.assert_close(model.log_probs(row).detach(), model.plain_log_probs(row))


def test_the_probe_is_three_groups_and_always_the_same() -> None:
    a, b = probe(300), probe(300)
    assert torch.equal(a.input_ids, b.input_ids) and a.sizes == (2, 3, 1)
    assert int(a.lengths.sum()) == len(a.targets) == len(a.predict) == 24
    assert probe(300, keep_last=True).spans[-1].end == len(probe(300, keep_last=True).input_ids)
    assert 7 not in probe(9, avoid=(7,)).input_ids
