"""The chat templates of well-known model families: each ends where its model stops."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from luce.data.template import Renderer
from luce.types import Place, Preference

_spec = importlib.util.spec_from_file_location(
    "root_conftest", Path(__file__).parent.parent / "conftest.py"
)
assert _spec and _spec.loader
root = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(root)

LLAMA_3 = (
    "{% for m in messages %}{% set c = '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n'"
    " + m['content'] | trim + '<|eot_id|>' %}{% if loop.first %}{% set c = bos_token + c %}"
    "{% endif %}{{ c }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}{% set r = 'model' if m['role'] == 'assistant' else "
    "m['role'] %}{{ '<start_of_turn>' + r + '\n' + m['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
ZEPHYR = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
QWEN_3 = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ m['content'] + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% if enable_thinking is defined and not enable_thinking %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
FAMILIES: list[tuple[str, str, tuple[str, ...], str, str, str]] = [
    # name, template, special tokens (bos first, then eos), prompt, scored text, terminator
    (
        "llama-3",
        LLAMA_3,
        ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
         "<|eot_id|>"),
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nq<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "a<|eot_id|>",
        "<|eot_id|>",
    ),
    ("mistral", MISTRAL, ("<s>", "</s>"), "<s>[INST] q [/INST]", " a</s>", "</s>"),
    (
        "gemma",
        GEMMA,
        ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
        "<bos><start_of_turn>user\nq<end_of_turn>\n<start_of_turn>model\n",
        "a<end_of_turn>",
        "<end_of_turn>",
    ),
    ("zephyr", ZEPHYR, ("<s>", "</s>"), "<|user|>\nq</s>\n<|assistant|>\n", "a</s>", "</s>"),
    (
        "qwen-3",
        QWEN_3,
        ("<|endoftext|>", "<|im_end|>", "<|im_start|>"),
        "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n",
        "<think>\n\n</think>\n\na<|im_end|>",
        "<|im_end|>",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "template", "specials", "prompt", "scored", "end"),
    FAMILIES,
    ids=[family[0] for family in FAMILIES],
)
def test_the_prompt_the_scored_span_and_the_end_of_each_family(
    name: str, template: str, specials: tuple[str, ...], prompt: str, scored: str, end: str
) -> None:
    tokenizer: Any = root.byte_level_tokenizer(
        specials, bos_token=specials[0], eos_token=specials[1]
    )
    tokenizer.chat_template = template
    renderer = Renderer(tokenizer)
    row = Preference(place=Place("f", 1), id="r", prompt="q", chosen="a", rejected=f"b {end}")
    group = renderer.group(row)
    assert tokenizer.decode(group.prompt) == prompt
    assert renderer.prompt_ids("q") == group.prompt.tolist()
    first, second = group.branches
    assert tokenizer.decode(first.ids) == scored and first.scored.all()
    assert renderer.terminator == tokenizer.convert_tokens_to_ids(end) == first.ids[-1]
    # The end spelled out in a response is text: it decodes the same, but is not the token.
    assert (second.ids == renderer.terminator).sum() == 1
    assert tokenizer.decode(second.ids) == scored.replace("a", f"b {end}", 1)
    whole = tokenizer.apply_chat_template(
        [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], return_dict=False
    )
    ids = [*group.prompt.tolist(), *first.ids.tolist()]
    assert whole[: len(ids)] == ids


def test_a_template_argument_moves_the_boundary() -> None:
    """With thinking off, Qwen's empty thought belongs to the prompt and is not scored."""
    _, template, specials, _, _, _ = FAMILIES[-1]
    tokenizer: Any = root.byte_level_tokenizer(
        specials, bos_token=specials[0], eos_token=specials[1]
    )
    tokenizer.chat_template = template
    off = {"enable_thinking": False}
    row = Preference(
        place=Place("f", 1), id="r", prompt="q", chosen="a", rejected="b", chat_template_kwargs=off
    )
    group = Renderer(tokenizer).group(row)
    assert tokenizer.decode(group.prompt).endswith("assistant\n<think>\n\n</think>\n\n")
    assert tokenizer.decode(group.branches[0].ids) == "a<|im_end|>"
