"""The page on data lists what the code knows."""

from pathlib import Path

import pytest

from luce.data.chat import DEFAULT_TEMPLATE
from luce.data.formats import FORMATS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text()


@pytest.mark.parametrize("name", FORMATS)
def test_the_page_lists_the_format_in_its_own_words(name: str) -> None:
    assert f"| `{name}` | {FORMATS[name].about} |" in PAGE


def test_the_page_shows_the_labels_of_the_plain_template() -> None:
    for label in ("System: ", "Human: ", "Assistant:"):
        assert f"'{label}'" in DEFAULT_TEMPLATE and f"\n{label.strip()} …" in PAGE.replace(
            "<bos>", ""
        )
