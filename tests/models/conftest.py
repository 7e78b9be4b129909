"""Networks of several architectures, tiny and random, and rows to show them."""

from collections.abc import Callable, Sequence

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
    Qwen2Config,
)

from luce.types import Branch, Group, Packed, Place, Span

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


def network(name: str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A random network, sharper than a fresh one: a wrong mask shows in its numbers."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = AutoModelForCausalLM.from_config(CONFIGS[name]())
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(0, 0.25)
    return model.to(dtype)


def group(prompt: Sequence[int], *responses: Sequence[int], scored: Sequence[bool] = ()) -> Group:
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


def random_groups(n: int, seed: int = 0, low: int = 5, high: int = VOCABULARY) -> list[Group]:
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


def pack(groups: Sequence[Group], keep_last: bool = False) -> Packed:
    """A row of groups, written here once more from the definition of `Packed`."""
    row: list[int] = []
    positions: list[int] = []
    spans, predict, targets, lengths, ends = [], [], [], [], []
    for g in groups:
        start, prompt = len(row), g.prompt.tolist()
        row += prompt
        positions += range(len(prompt))
        kept = []
        for branch in g.branches:
            ids = branch.ids.tolist()
            own = ids if keep_last else ids[:-1]
            before = [start + len(prompt) - 1, *range(len(row), len(row) + len(ids) - 1)]
            predict += [p for p, s in zip(before, branch.scored, strict=True) if s]
            targets += [t for t, s in zip(ids, branch.scored, strict=True) if s]
            lengths.append(int(branch.scored.sum()))
            row += own
            positions += range(len(prompt), len(prompt) + len(own))
            ends.append(len(row) - 1 if own else start + len(prompt) - 1)
            kept.append(len(own))
        spans.append(Span(start, len(prompt), tuple(kept)))
    return Packed(
        input_ids=torch.tensor(row),
        position_ids=torch.tensor(positions),
        spans=tuple(spans),
        predict=torch.tensor(predict),
        targets=torch.tensor(targets),
        lengths=torch.tensor(lengths),
        ends=torch.tensor(ends),
        sizes=tuple(len(g.branches) for g in groups),
    )


@pytest.fixture
def groups() -> list[Group]:
    """Seven groups, the same every time."""
    return random_groups(7)
