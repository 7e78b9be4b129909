"""Tokenizers that a test may change, and files of rows."""

import copy
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def plain_tokenizer(tiny_tokenizer: Any) -> Any:
    """A copy of `tiny_tokenizer`: a renderer gives it a chat template."""
    return copy.deepcopy(tiny_tokenizer)


@pytest.fixture
def chat_tokenizer(chatml_tokenizer: Any) -> Any:
    """A copy of `chatml_tokenizer`."""
    return copy.deepcopy(chatml_tokenizer)


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[..., str]:
    """`jsonl(rows, "name.jsonl")` writes them and is the path."""

    def write(rows: Iterable[Any], name: str = "pairs.jsonl") -> str:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write
