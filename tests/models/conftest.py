"""Networks of several architectures, tiny and random, and rows to show them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from luce.models.policy import CausalPolicy
from luce.types import Branch, Group, Place

VOCABULARY = 300
SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "pad_token_id": 2,
}
CONFIGS: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama": lambda: LlamaConfig(**SMALL),
    "qwen2": lambda: Qwen2Config(**SMALL, num_key_value_heads=2, tie_word_embeddings=True),
    "gpt2": lambda: GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=256,
        bos_token_id=0,
        eos_token_id=1,
    ),
    "gpt_neox": lambda: GPTNeoXConfig(**SMALL),
    "gemma2": lambda: Gemma2Config(
        **SMALL, num_key_value_heads=2, head_dim=8, sliding_window=6, query_pre_attn_scalar=8
    ),
    "mistral_window": lambda: MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=5),
}


def _network(name: str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A random network, sharper than a fresh one: a wrong mask shows in its numbers."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = AutoModelForCausalLM.from_config(CONFIGS[name]())
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(0, 0.25)
    return model.to(dtype)


def _group(prompt: Sequence[int], *responses: Sequence[int], scored: Sequence[bool] = ()) -> Group:
    """A group from plain ids; everything scored unless said otherwise (for every response)."""
    branches = tuple(
        Branch(
            np.asarray(ids, dtype=np.int32),
            np.asarray(scored or [True] * len(ids), dtype=bool),
        )
        for ids in responses
    )
    name = "-".join(map(str, prompt))
    return Group(np.asarray(prompt, dtype=np.int32), branches, name, Place("test.jsonl", 1))


def _random_groups(n: int, seed: int = 0, low: int = 5, high: int = VOCABULARY) -> list[Group]:
    """Groups with 1 to 3 responses of 1 to 9 tokens; some responses have unscored tokens."""
    rng = np.random.default_rng(seed)
    groups = []
    for i in range(n):
        branches = []
        for _ in range(int(rng.integers(1, 4))):
            length = int(rng.integers(1, 10))
            scored = rng.random(length) < 0.8
            scored[-1] = True
            branches.append(Branch(rng.integers(low, high, length).astype(np.int32), scored))
        prompt = rng.integers(low, high, int(rng.integers(1, 12))).astype(np.int32)
        groups.append(Group(prompt, tuple(branches), f"g{i}", Place("test.jsonl", i + 1)))
    return groups


@pytest.fixture(scope="session")
def network() -> Callable[..., PreTrainedModel]:
    """`network("llama")`: a random network of an architecture of `CONFIGS`."""
    return _network


@pytest.fixture(scope="session")
def group() -> Callable[..., Group]:
    """`group([5, 6], [7, 1], [8, 1])`: a group from plain ids."""
    return _group


@pytest.fixture(scope="session")
def random_groups() -> Callable[..., list[Group]]:
    """`random_groups(7, seed=0)`: groups with 1 to 3 responses."""
    return _random_groups


@pytest.fixture
def groups() -> list[Group]:
    """Seven groups, the same every time."""
    return _random_groups(7)


@pytest.fixture(scope="session")
def policy(tiny_tokenizer: PreTrainedTokenizerFast) -> Callable[..., CausalPolicy]:
    """`policy("llama", dtype=torch.float64, **settings)`: a policy on a fresh random network."""

    def make(name: str, dtype: torch.dtype = torch.float32, **settings: Any) -> CausalPolicy:
        return CausalPolicy(_network(name, dtype), tiny_tokenizer, name, **settings)

    return make
