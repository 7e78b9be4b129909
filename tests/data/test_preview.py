"""What `luce check` shows of a row."""

from typing import Any

from luce.data.preview import preview
from luce.data.template import Renderer
from luce.types import Place, Preference


def test_the_scored_part_stands_between_brackets_and_characters_are_whole(
    chat_tokenizer: Any,
) -> None:
    turns = (
        {"role": "assistant", "content": "naïve"},
        {"role": "user", "content": "more"},
        {"role": "assistant", "content": "b"},
    )
    row = Preference(
        place=Place("f.jsonl", 3), id="r", prompt="q", chosen=turns, rejected="😀", label=0.75
    )
    view = preview(Renderer(chat_tokenizer).group(row), chat_tokenizer)
    assert view.text == (
        "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n",
        "⟦naïve<|im_end|>⟧\n<|im_start|>user\nmore<|im_end|>\n<|im_start|>assistant\n⟦b<|im_end|>⟧",
        "⟦😀<|im_end|>⟧",
    )
    shown = str(view)
    assert shown.startswith("f.jsonl:3  id r  label 0.75  weight 1\n")
    assert "rejected: 5 tokens, 5 scored" in shown
    assert all(f"{t.id}*" in shown for t in view.responses[1])
    assert not any(t.scored for t in view.prompt)
