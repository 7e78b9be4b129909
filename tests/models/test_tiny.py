from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from luce.errors import ModelError
from luce.models.tiny import BEGIN, END, PAD, Shape, new_model, new_model_folder, new_tokenizer

TEXTS = ["Sort by the alphabet: star cat fig", "cat fig star", "Grüße, 三 \t\n  <|end|>!"] * 20
SHAPE = Shape(hidden=32, layers=2, heads=4, max_positions=64)


def test_special_tokens_are_distinct_and_nothing_is_added_to_a_text() -> None:
    tokenizer = new_tokenizer(TEXTS, 300, extra_special_tokens=["<|user|>"])
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (BEGIN, END, PAD)
    assert tokenizer.convert_tokens_to_ids([BEGIN, END, PAD, "<|user|>"]) == [0, 1, 2, 3]
    assert set(tokenizer.all_special_ids) == {0, 1, 2, 3}
    assert not {0, 1, 2, 3} & set(tokenizer("Sort: star cat").input_ids)


def test_every_text_decodes_to_itself() -> None:
    tokenizer = new_tokenizer(TEXTS, 300)
    assert len(tokenizer) == 300
    for text in (*TEXTS[:2], "  never  seen: ŷ 🦉 \r\n\t", ""):
        assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_a_special_token_spelled_out_in_the_corpus_is_not_learned() -> None:
    tokenizer = new_tokenizer(["<|end|> and <|end|> again"] * 100, 400)
    ids = tokenizer("<|end|>", split_special_tokens=True).input_ids
    assert tokenizer.eos_token_id not in ids
    assert tokenizer.decode(ids) == "<|end|>"


def test_a_special_token_that_is_a_word_of_the_corpus_is_refused() -> None:
    with pytest.raises(ModelError, match="'star' is also a word"):
        new_tokenizer(["star"] * 50, 300, extra_special_tokens=["star"])


def test_impossible_vocabularies_are_refused() -> None:
    with pytest.raises(ModelError, match="vocabulary of 258 does not hold"):
        new_tokenizer(TEXTS, 258)
    with pytest.raises(ModelError, match="must differ"):
        new_tokenizer(TEXTS, 300, extra_special_tokens=[END])


def test_the_seed_decides_the_weights_and_torch_is_left_alone() -> None:
    tokenizer = new_tokenizer(TEXTS, 300)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = (new_model(tokenizer, SHAPE, seed=s).state_dict() for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    name = "model.embed_tokens.weight"
    assert not torch.equal(first[name], other[name])


def test_the_number_of_parameters_is_that_of_the_shape() -> None:
    tokenizer = new_tokenizer(TEXTS, 300)
    # embedding, then per layer 4 attention matrices, 3 of the feed-forward (width 96: 8/3 · 32
    # rounded up to 32) and 2 norms, then the last norm
    body = 300 * 32 + 2 * (4 * 32 * 32 + 3 * 32 * 96 + 2 * 32) + 32
    assert new_model(tokenizer, SHAPE).num_parameters() == body
    untied = Shape(hidden=32, layers=2, heads=4, max_positions=64, tie=False)
    assert new_model(tokenizer, untied).num_parameters() == body + 300 * 32


def test_a_folder_reloads_with_plain_transformers_to_the_same_model(tmp_path: Path) -> None:
    template = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"
    model = new_model_folder(
        tmp_path / "new", iter(TEXTS), vocab_size=300, shape=SHAPE, chat_template=template, seed=3
    )
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "new")
    reloaded = AutoModelForCausalLM.from_pretrained(tmp_path / "new")
    ids = tokenizer("cat fig star", return_tensors="pt").input_ids
    assert torch.equal(model(ids).logits, reloaded(ids).logits)
    assert tokenizer.chat_template == template
    assert tokenizer.model_max_length == 64
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 1, 2)
    assert reloaded.generation_config.eos_token_id == 1


def test_a_folder_that_holds_something_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("mine")
    with pytest.raises(ModelError, match="not an empty folder"):
        new_model_folder(tmp_path, TEXTS, vocab_size=300, shape=SHAPE)


def test_impossible_shapes_are_refused() -> None:
    with pytest.raises(ModelError, match="does not divide into 4 heads"):
        Shape(hidden=36, heads=4)
    with pytest.raises(ModelError, match="layers is 0"):
        Shape(layers=0)
