"""Text from a row never becomes a control token, and decodes to itself."""

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from luce.data.encode import Encoder
from luce.data.template import Renderer
from luce.types import Place, Preference

SPECIALS = ["<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
PIECES = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.sampled_from(
        [*SPECIALS, "<|im_end|im_start|>", "<|im_<|im_end|>end|>", "<<s>/s>", " ", "\n"]
    ),
)
TEXTS = st.lists(PIECES, max_size=8).map("".join)
SETTINGS = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def tokenizer(chatml_tokenizer: Any) -> Any:
    changed = copy.deepcopy(chatml_tokenizer)
    thoughts = [AddedToken(text, special=False) for text in SPECIALS[5:]]
    changed.add_tokens(thoughts)
    return changed


@pytest.fixture(scope="module")
def chat(tokenizer: Any) -> Renderer:
    return Renderer(tokenizer)


@SETTINGS
@given(text=TEXTS)
def test_row_text_has_no_control_token_and_decodes_to_itself(tokenizer: Any, text: str) -> None:
    encoder = Encoder(tokenizer)
    ids = encoder.row(text, continues=False)
    assert not set(ids) & set(encoder.controls.values())
    assert tokenizer.decode(ids) == text


@SETTINGS
@given(
    prompt=TEXTS.filter(str.strip), chosen=TEXTS.filter(str.strip), rejected=TEXTS.filter(str.strip)
)
def test_a_rendered_row_has_the_templates_control_tokens_and_no_others(
    tokenizer: Any, chat: Renderer, prompt: str, chosen: str, rejected: str
) -> None:
    if chosen == rejected:
        return
    row = Preference(place=Place("f", 1), id="a", prompt=prompt, chosen=chosen, rejected=rejected)
    group = chat.group(row)
    controls = [i for i in group.prompt.tolist() if i in Encoder(tokenizer).controls.values()]
    assert controls == [3, 4, 3]
    assert tokenizer.decode(group.prompt) == (
        f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
    )
    assert not set(group.prompt.tolist()) & set(tokenizer.convert_tokens_to_ids(SPECIALS[5:]))
    for branch, response in zip(group.branches, (chosen, rejected), strict=True):
        assert [i for i in branch.ids.tolist() if i < 5] == [4]
        assert tokenizer.decode(branch.ids) == response + "<|im_end|>"
    assert chat.prompt_ids(prompt) == group.prompt.tolist()


def test_reasoning_tokens_stay_tokens_where_the_assistant_writes_them(
    tokenizer: Any, chat: Renderer
) -> None:
    think = tokenizer.convert_tokens_to_ids("<think>")
    row = Preference(place=Place("f", 1), id="a", prompt="<think>", chosen="<think>x", rejected="y")
    group = chat.group(row)
    assert think not in group.prompt
    assert group.branches[0].ids[0] == think


def test_text_is_encoded_as_the_tokenizer_does_where_no_control_token_is_spelled(
    tokenizer: Any,
) -> None:
    encoder = Encoder(tokenizer)
    for text in ("hello world", "Zeile\n\nZeile", "é😀"):
        assert encoder.row(text, continues=False) == tokenizer.encode(
            text, add_special_tokens=False
        )


def test_a_tokenizer_that_puts_a_space_before_every_text_continues_without_one() -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    backend.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(
        vocab_size=200, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False
    )
    backend.train_from_iterator(["yes and no, maybe: | \n abcdefgh"] * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="</s>", unk_token="<unk>"
    )
    group = Renderer(tokenizer, render="plain").group(
        Preference(place=Place("f", 1), id="a", prompt="may", chosen="be", rejected="no")
    )
    assert tokenizer.decode([*group.prompt, *group.branches[0].ids]) == "maybe</s>"
