import json

import pytest

from luce.cli.main import run
from luce.errors import DataError
from luce.recipe.new_model import texts_of
from luce.types import Place


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.jsonl"
    rows = [{"text": f"A sentence about number {n}.", "n": n} for n in range(50)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_new_model_loads_with_plain_transformers_and_answers_chats(corpus, tmp_path, capsys):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = tmp_path / "model"
    line = f"new-model {out} --corpus {corpus} --vocab-size 300 --hidden 32 --layers 1"
    line += " --max-positions 64 --chat-template chatml --limit 20 --json"
    assert run(line.split()) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["rows_read"] == 20
    model = AutoModelForCausalLM.from_pretrained(out)
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert sum(p.numel() for p in model.parameters()) == made["parameters"]
    assert len(tokenizer) == made["vocabulary"] == model.config.vocab_size
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
    )
    assert text == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") in tokenizer(text)["input_ids"]


def test_the_same_seed_makes_the_same_model(corpus, tmp_path):
    for name in ("a", "b"):
        line = f"new-model {tmp_path / name} --corpus {corpus} --vocab-size 280 --hidden 16"
        assert run([*line.split(), "--layers", "1", "--heads", "2"]) == 0
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b")]
    assert weights[0] == weights[1]


def test_a_model_is_not_overwritten(corpus, tmp_path, capsys):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("mine")
    line = f"new-model {tmp_path / 'there'} --corpus {corpus} --vocab-size 280"
    assert run(line.split()) == 2
    assert "not an empty folder" in capsys.readouterr().err


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(DataError, match="f:3: no `txt`. Did you mean 'text'"):
        texts_of({"text": "a"}, "txt", Place("f", 3))


def test_an_unknown_chat_template_is_named(corpus, tmp_path, capsys):
    line = f"new-model {tmp_path / 'm'} --corpus {corpus} --chat-template chatlm"
    assert run(line.split()) == 2
    assert "Did you mean 'chatml'?" in capsys.readouterr().err
