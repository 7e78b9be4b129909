"""Architectures on shared rows: log-probabilities and every gradient are those of padded rows."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as hf
from peft import TaskType
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from luce.data.pack import pack
from luce.errors import ModelError
from luce.models.attention import best_layout, using_kernel
from luce.models.load import LoraSettings, add_lora
from luce.models.network import checkpoint_layers
from luce.models.policy import CausalPolicy
from luce.numerics import segment_sum
from luce.types import Group, Packed

SMALL: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
GROUPED: dict[str, Any] = SMALL | {"num_key_value_heads": 2}
WIDE: dict[str, Any] = GROUPED | {"head_dim": 12}
"""Heads whose widths do not add up to the hidden size."""
WINDOW: dict[str, Any] = {"sliding_window": 5}
MIXED: dict[str, Any] = WINDOW | {"layer_types": ["sliding_attention", "full_attention"]}
GPT2: dict[str, Any] = {
    "vocab_size": 300,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 256,
}
EXPERTS: dict[str, Any] = {"num_local_experts": 4, "num_experts_per_tok": 2}

SHARED: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama": lambda: hf.LlamaConfig(**GROUPED),
    "qwen2": lambda: hf.Qwen2Config(**GROUPED, tie_word_embeddings=True),
    "qwen2_window": lambda: hf.Qwen2Config(**GROUPED, **MIXED, use_sliding_window=True),
    "qwen3": lambda: hf.Qwen3Config(**WIDE),
    "gemma2": lambda: hf.Gemma2Config(**WIDE, **MIXED, query_pre_attn_scalar=9),
    "gemma3": lambda: hf.Gemma3TextConfig(**WIDE, **MIXED),
    "mistral": lambda: hf.MistralConfig(**GROUPED, **WINDOW),
    "gpt2": lambda: hf.GPT2Config(**GPT2),
    "gpt_neox": lambda: hf.GPTNeoXConfig(**SMALL),
    "phi3": lambda: hf.Phi3Config(**GROUPED),
    "olmo2": lambda: hf.Olmo2Config(**GROUPED),
    "olmo3": lambda: hf.Olmo3Config(**GROUPED, **MIXED),
    "cohere2": lambda: hf.Cohere2Config(**GROUPED, **MIXED),
    "gpt_oss": lambda: hf.GptOssConfig(**WIDE, **MIXED, **EXPERTS),
    "llama4": lambda: hf.Llama4TextConfig(
        **WIDE,
        **EXPERTS,
        intermediate_size_mlp=64,
        attention_chunk_size=4,
        attn_temperature_tuning=False,
        layer_types=["chunked_attention", "full_attention"],
    ),
}
PACKED: dict[str, tuple[Callable[[], PreTrainedConfig], str]] = {
    "stablelm": (lambda: hf.StableLmConfig(**SMALL, num_key_value_heads=4), "registered attention"),
    "nemotron": (lambda: hf.NemotronConfig(**SMALL, num_key_value_heads=4), "hand the layout"),
}
ALL = SHARED | {name: make for name, (make, _) in PACKED.items()}

BLOOM: dict[str, Any] = {"vocab_size": 50, "hidden_size": 16, "n_layer": 1, "n_head": 2}
STATE: dict[str, Any] = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2}
MIXER: dict[str, Any] = GROUPED | {"mamba_d_state": 4, "mamba_n_groups": 1, "mamba_d_head": 8}
PADDED: dict[str, tuple[Callable[[], PreTrainedConfig], str]] = {
    "mamba": (lambda: hf.MambaConfig(**STATE, state_size=2), "linear_attention carry a state"),
    "mamba2": (
        lambda: hf.Mamba2Config(**STATE, state_size=2, num_heads=4, head_dim=8, n_groups=1),
        "linear_attention carry a state",
    ),
    "rwkv": (lambda: hf.RwkvConfig(**STATE), "carries a state along the row"),
    "bloom": (lambda: hf.BloomConfig(**BLOOM), "takes no position ids"),
    "mpt": (
        lambda: hf.MptConfig(vocab_size=50, d_model=16, n_layers=1, n_heads=2),
        "takes no position ids",
    ),
    "falcon_alibi": (
        lambda: hf.FalconConfig(vocab_size=50, hidden_size=16, num_attention_heads=2, alibi=True),
        "ALiBi",
    ),
    "qwen3_next": (
        lambda: hf.Qwen3NextConfig(
            **WIDE,
            num_experts=2,
            num_experts_per_tok=1,
            moe_intermediate_size=16,
            shared_expert_intermediate_size=16,
            linear_num_key_heads=2,
            linear_num_value_heads=2,
            linear_key_head_dim=8,
            linear_value_head_dim=8,
            layer_types=["linear_attention", "full_attention"],
        ),
        "linear_attention carry a state",
    ),
    "falcon_h1": (
        lambda: hf.FalconH1Config(**MIXER, mamba_d_ssm=32, mamba_n_heads=4),
        "hybrid carry a state",
    ),
    "bamba": (
        lambda: hf.BambaConfig(**MIXER, mamba_n_heads=8, attn_layer_indices=[1]),
        "linear_attention carry a state",
    ),
    "recurrent_gemma": (
        lambda: hf.RecurrentGemmaConfig(
            **GROUPED, lru_width=32, attention_window_size=8, block_types=["recurrent", "attention"]
        ),
        "a state",
    ),
    "lfm2": (
        lambda: hf.Lfm2Config(**GROUPED, layer_types=["conv", "full_attention"]),
        "conv carry a state",
    ),
    "llama4_temperatures": (
        lambda: hf.Llama4TextConfig(**WIDE, **EXPERTS, intermediate_size_mlp=64),
        "temperatures of attention are read off the row",
    ),
}

GROUPS = (
    ([11, 12, 13, 14, 15, 16, 17], ([21, 22, 23, 1], [24, 25, 26, 27, 28, 29, 1])),
    ([31], ([41, 1], [1], [42, 43, 44, 45, 46, 47, 48, 49, 1])),
    ([51, 52, 53], ([61, 62, 1],)),
    ([71, 72, 73, 74], tuple([81 + i] * (i % 4) + [1] for i in range(8))),
)
"""Prompts of 1 to 7 tokens; 1, 2, 3 and 8 responses, of 1 token too; beyond every window."""


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Norms and softmaxes that transformers computes in float32 work in float64 too: the same
    values rounded on two ways would hide errors below 1e-6."""
    for alias in ("float32", "float"):
        monkeypatch.setattr(torch, alias, torch.float64)
    monkeypatch.setattr(Tensor, "float", Tensor.double)


def network(make: Callable[[], PreTrainedConfig], dtype: torch.dtype) -> PreTrainedModel:
    """A random network, sharper than a fresh one: a wrong mask shows in its numbers."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = AutoModelForCausalLM.from_config(make(), experts_implementation="eager")
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 or "sinks" in name:
                parameter.data.normal_(0, 0.25)
    return model.to(dtype)


def policy(
    name: str, tokenizer: Any, dtype: torch.dtype, lora: bool = False, checkpoint: bool = False
) -> CausalPolicy:
    module: Any = network(ALL[name], dtype)
    if lora:
        # experts are not linear layers; attention is what this is about
        names = [n.split(".")[-1] for n, part in module.named_modules() if is_linear(part)]
        targets = tuple({n for n in names if n != "lm_head" and n != "router"})
        module = add_lora(module, LoraSettings(r=2, target_modules=targets), TASK, 0, path=name)
        with torch.random.fork_rng():
            torch.manual_seed(2)
            for part, parameter in module.named_parameters():
                if "lora_B" in part:
                    parameter.data.normal_(0, 0.25)
        module = module.to(dtype)
    made = CausalPolicy(module, tokenizer, name)
    if checkpoint:
        checkpoint_layers(made.module)
    return made


TASK = TaskType.CAUSAL_LM


def is_linear(part: Any) -> bool:
    return type(part).__name__ in ("Linear", "Conv1D")


def padded(model: CausalPolicy, groups: list[Group]) -> Tensor:
    """log π of every token through transformers alone: one padded batch, one log_softmax."""
    rows = [
        torch.tensor([*group.prompt.tolist(), *branch.ids.tolist()])
        for group in groups
        for branch in group.branches
    ]
    ids = pad_sequence(rows, batch_first=True, padding_value=2)
    lengths = torch.tensor([len(row) for row in rows])
    mask = (torch.arange(ids.shape[1])[None, :] < lengths[:, None]).long()
    with model.plain_attention():
        logits = model.module(input_ids=ids, attention_mask=mask, use_cache=False).logits
        log_probs = logits.log_softmax(-1)
        found, number = [], 0
        for group in groups:
            for branch in group.branches:
                at = len(group.prompt) - 1 + torch.arange(len(branch.ids))
                found.append(log_probs[number, at, ids[number, at + 1]])
                number += 1
        return torch.cat(found)


def outcome(
    compute: Callable[[], Tensor], model: CausalPolicy, lengths: Tensor
) -> tuple[Tensor, dict[str, Tensor | None]]:
    """log π(y|x) of every response and the gradient of a weighted sum for every parameter."""
    sums = segment_sum(compute(), lengths)
    weights = torch.linspace(-1, 1.3, len(sums), dtype=sums.dtype)
    names, parameters = zip(*model.trainable().items(), strict=True)
    grads = torch.autograd.grad((sums * weights).sum(), parameters, allow_unused=True)
    return sums.detach(), dict(zip(names, grads, strict=True))


def assert_same(found: Any, truth: Any, tolerance: float, relative: float) -> None:
    torch.testing.assert_close(found[0], truth[0], rtol=0, atol=tolerance)
    moved = 0
    # a sum over a row that the softmax keeps at 0 (a key's bias) has no scale of its own
    least = 1e-3 * max(float(g.abs().max()) for g in truth[1].values() if g is not None)
    for name, right in truth[1].items():
        one = found[1][name]
        assert (one is None) == (right is None), name
        if right is not None:
            moved += 1
            scale = max(float(right.abs().max()), least)
            assert float((one - right).abs().max()) <= relative * scale, name
    assert moved


@pytest.fixture(scope="module")
def groups(group: Callable[..., Group]) -> list[Group]:
    return [group(prompt, *responses) for prompt, responses in GROUPS]


@pytest.fixture(scope="module")
def row(groups: list[Group]) -> Packed:
    return pack(groups)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("name", ALL)
def test_log_probs_and_every_gradient_are_those_of_padded_rows(
    name: str, lora: bool, groups: list[Group], row: Packed, tiny_tokenizer: Any
) -> None:
    model = policy(name, tiny_tokenizer, torch.float64, lora)
    assert model.layout == ("shared" if name in SHARED else "packed"), model.layout_reason
    if name in PACKED:
        assert PACKED[name][1] in model.layout_reason
    truth = outcome(lambda: padded(model, groups), model, row.lengths)
    assert_same(outcome(lambda: model.log_probs(row), model, row.lengths), truth, 1e-9, 1e-9)
    with using_kernel("dense"):
        third = outcome(lambda: model.log_probs(row), model, row.lengths)
    assert_same(third, truth, 1e-9, 1e-9)
    checkpoint_layers(model.module)
    again = outcome(lambda: model.log_probs(row), model, row.lengths)
    assert_same(again, truth, 1e-9, 1e-9)


@pytest.mark.parametrize("name", ALL)
def test_float32_is_right_to_rounding(
    name: str, groups: list[Group], row: Packed, tiny_tokenizer: Any
) -> None:
    model = policy(name, tiny_tokenizer, torch.float32)
    truth = outcome(lambda: padded(model, groups), model, row.lengths)
    found = outcome(lambda: model.log_probs(row), model, row.lengths)
    assert_same(found, truth, 1e-4, 1e-4)


@pytest.mark.parametrize(("make", "reason"), PADDED.values(), ids=PADDED)
def test_what_cannot_tell_sequences_apart_is_padded_with_the_reason(
    make: Callable[[], PreTrainedConfig], reason: str
) -> None:
    layout, why = best_layout(AutoModelForCausalLM.from_config(make()), dropout=False)
    assert layout == "padded" and reason in why


def test_a_window_that_stands_in_the_mask_only_is_not_shared(tiny_tokenizer: Any) -> None:
    # no row of the check is as long as this window
    config = hf.PhimoeConfig(**GROUPED, **EXPERTS, sliding_window=100)
    model = CausalPolicy(network(lambda: config, torch.float32), tiny_tokenizer, "phimoe")
    assert model.layout == "packed"
    assert "PhimoeAttention does not tell its attention of the window" in model.layout_reason


def test_a_network_with_a_state_is_padded_and_says_so(
    groups: list[Group], tiny_tokenizer: Any
) -> None:
    config = hf.MambaConfig(vocab_size=300, hidden_size=16, num_hidden_layers=1, state_size=2)
    model = CausalPolicy(network(lambda: config, torch.float32), tiny_tokenizer, "mamba")
    assert model.layout == "padded" and "carry a state" in model.layout_reason
    assert model.warnings == ()
    torch.testing.assert_close(
        model.log_probs(pack(groups)).detach(), model.plain_log_probs(pack(groups))
    )
    with pytest.raises(ModelError, match="shared does not work for mamba: .* carry a state"):
        CausalPolicy(model.inner, tiny_tokenizer, "mamba", layout="shared")
