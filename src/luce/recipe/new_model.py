"""`luce new-model`: a tokenizer and a small, untrained model out of a file of text."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from luce.data.rows import read
from luce.errors import DataError, LuceError, did_you_mean
from luce.models.tiny import Shape, new_model_folder
from luce.types import Place

CHATML = """{% for message in messages %}\
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}\
{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
"""The ChatML chat template: every turn between `<|im_start|>role` and `<|im_end|>`."""

TEMPLATES: dict[str, tuple[str | None, tuple[str, ...]]] = {
    "none": (None, ()),
    "chatml": (CHATML, ("<|im_start|>", "<|im_end|>")),
}
"""Chat template by name → its text and the special tokens it writes."""


def create_model(
    out: Path,
    corpus: str,
    *,
    vocab_size: int,
    shape: Shape,
    template: str = "none",
    field: str | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Write the model folder and say what is in it: parameters, vocabulary, documents read.

    `field` names the column that holds the text; without it every text of a row is used.
    """
    if template not in TEMPLATES:
        raise LuceError(f"--chat-template: no {template!r}. {did_you_mean(template, TEMPLATES)}")
    chat_template, special = TEMPLATES[template]
    counted = _Counted(corpus, field, limit)
    model = new_model_folder(
        out,
        counted.texts(),
        vocab_size=vocab_size,
        shape=shape,
        chat_template=chat_template,
        extra_special_tokens=special,
        seed=seed,
    )
    return {
        "path": str(out),
        "parameters": sum(p.numel() for p in model.parameters()),
        "vocabulary": int(model.config.vocab_size),
        "rows_read": counted.rows,
        "chat_template": template,
        "seed": seed,
    }


class _Counted:
    """The texts of a corpus, and how many rows gave them."""

    def __init__(self, corpus: str, field: str | None, limit: int | None) -> None:
        self.corpus, self.field, self.limit = corpus, field, limit
        self.rows = 0

    def texts(self) -> Iterator[str]:
        for place, record in read(self.corpus):
            if self.rows == self.limit:
                return
            self.rows += 1
            yield from texts_of(record, self.field, place)


def texts_of(record: dict[str, Any], field: str | None, place: Place) -> list[str]:
    """The texts of a row: of one column, or every string of it, however deep.

    >>> texts_of({"chosen": [{"role": "user", "content": "hi"}], "n": 3}, None, Place("f", 1))
    ['user', 'hi']
    """
    if field is None:
        return _strings(record)
    if field not in record:
        raise DataError(f"{place}: no `{field}`. {did_you_mean(field, record)}")
    return _strings(record[field])


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in inner for text in _strings(item)]
