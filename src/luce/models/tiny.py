"""New, small causal language models in HF format: a byte-level tokenizer and a fresh Llama.

For demonstrations, lessons and tests, where a model must be there without a download. What is
written loads with plain `AutoTokenizer` and `AutoModelForCausalLM`.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from luce.errors import ModelError
from luce.models.load import quietly

BEGIN, END, PAD = "<|begin|>", "<|end|>", "<|pad|>"
BYTES = 256


@dataclass(frozen=True)
class Shape:
    """The size of a new model.

    Attributes:
        hidden: width; a multiple of `heads`, and the quotient even (rotary positions).
        layers: transformer layers.
        heads: attention heads.
        max_positions: longest sequence in tokens.
        tie: the output layer is the embedding, transposed.
    """

    hidden: int = 256
    layers: int = 4
    heads: int = 4
    max_positions: int = 1024
    tie: bool = True

    def __post_init__(self) -> None:
        for name in ("hidden", "layers", "heads", "max_positions"):
            if getattr(self, name) < 1:
                raise ModelError(f"A new model's {name} is {getattr(self, name)}; give 1 or more.")
        if self.hidden % (2 * self.heads):
            raise ModelError(
                f"A new model's hidden size {self.hidden} does not divide into {self.heads} heads "
                f"of even width. Give a multiple of {2 * self.heads}."
            )


def new_tokenizer(
    texts: Iterable[str],
    vocab_size: int,
    *,
    chat_template: str | None = None,
    extra_special_tokens: Sequence[str] = (),
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on the texts: every text has an encoding that decodes to
    itself, and the tokenizer adds nothing at either end.

    Its special tokens are `<|begin|>`, `<|end|>`, `<|pad|>` (ids 0, 1, 2) and the extra ones, in
    order. No merge of the texts' bytes makes one of them: an extra special token that could be
    learned as a word is refused. `vocab_size` counts them and the 256 bytes; a corpus with few
    different words may give fewer tokens.
    """
    special = (BEGIN, END, PAD, *extra_special_tokens)
    if len(set(special)) < len(special):
        raise ModelError(
            f"A new tokenizer's special tokens must differ; these do not: {special}. Change "
            "`extra_special_tokens`."
        )
    if vocab_size < BYTES + len(special):
        raise ModelError(
            f"A new tokenizer's vocabulary of {vocab_size} does not hold the {BYTES} bytes and "
            f"{len(special)} special tokens. Give {BYTES + len(special)} or more."
        )
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    merged = {"".join(pair) for pair in json.loads(core.to_str())["model"]["merges"]}
    if words := merged.intersection(special):
        raise ModelError(
            f"A new tokenizer's special token {min(words)!r} is also a word of the texts, and the "
            "two would share an id. Choose a special token that no text holds, such as '<|name|>'."
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=list(extra_special_tokens),
        clean_up_tokenization_spaces=False,
    )
    if chat_template is not None:
        tokenizer.chat_template = chat_template
    return tokenizer


def new_model(
    tokenizer: PreTrainedTokenizerFast, shape: Shape | None = None, *, seed: int = 0
) -> LlamaForCausalLM:
    """A Llama of this shape with random float32 weights, the same for the same seed; torch's own
    generator is left as it was.

    The feed-forward width is 8/3 hidden, rounded up to 32. Weights are normal with standard
    deviation √(2 / (5 · hidden)) ("small init", Nguyen & Salazar, 2019): with the 0.02 that large
    models use, a small one starts with attention that is nearly uniform and learns to copy late.
    """
    shape = shape or Shape()
    special: dict[str, Any] = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=-(-8 * shape.hidden // 96) * 32,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=shape.max_positions,
        tie_word_embeddings=shape.tie,
        initializer_range=math.sqrt(2 / (5 * shape.hidden)),
        dtype="float32",
        **special,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def new_model_folder(
    out: Path,
    texts: Iterable[str],
    *,
    vocab_size: int = 4096,
    shape: Shape | None = None,
    chat_template: str | None = None,
    extra_special_tokens: Sequence[str] = (),
    seed: int = 0,
) -> LlamaForCausalLM:
    """Write a new tokenizer and a new model into the folder `out`, and return the model.

    The folder must be empty or absent: a model that is there is not overwritten.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ModelError(f"{out}: exists and is not an empty folder. Name a new one.")
    tokenizer = new_tokenizer(
        texts, vocab_size, chat_template=chat_template, extra_special_tokens=extra_special_tokens
    )
    tokenizer.model_max_length = (shape or Shape()).max_positions
    model = new_model(tokenizer, shape, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    with quietly():
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)
    return model
