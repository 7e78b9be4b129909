"""The pages on objectives say what the tables do, and are what their program writes."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from luce.errors import LuceError
from luce.objectives.cards import TABLES, card
from luce.objectives.page import _text, cards_page, presets_table, with_tables, write_pages
from luce.objectives.presets import OBJECTIVES

DOCS = Path(__file__).resolve().parents[2] / "docs"
WRITE = "python -m luce.objectives.page docs"


@cache
def page() -> str:
    return cards_page()


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_the_page_of_cards_is_what_its_program_writes():
    assert read("cards.md") == page(), f"run: {WRITE}"


def test_the_tables_of_the_overview_are_what_their_program_writes():
    assert read("objectives.md") == with_tables(read("objectives.md")), f"run: {WRITE}"


def test_a_table_that_somebody_edited_is_written_anew():
    right = read("objectives.md")
    edited = right.replace("[`dpo`]", "[`dqo`]")
    assert edited != right == with_tables(edited)


def test_a_page_without_the_comments_is_an_error(tmp_path):
    (tmp_path / "objectives.md").write_text("# Objectives\n")
    with pytest.raises(LuceError, match="no comments `presets: …`"):
        write_pages(tmp_path)
    assert not (tmp_path / "cards.md").exists()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_has_its_formula_and_source_on_the_page_of_cards(name):
    section = read("cards.md").split(f"\n### {name}\n")[1].split("\n### ")[0]
    shown = card(name)
    assert f"```text\n{OBJECTIVES[name]().formula}\n```" in section
    assert f"| source | {shown.source} |" in section
    for parameter in shown.parameters:
        assert f"| `{parameter.name} = " in section


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_has_a_row_in_the_overview_that_leads_to_its_card(name):
    (row,) = [r for r in read("objectives.md").splitlines() if r.startswith(f"| [`{name}`](")]
    link, cost, source = re.split(r" (?<!\\)\| ", row.strip("| "))
    assert link == f"[`{name}`](cards.md#{name})" and cost and source
    assert f"\n### {name}\n" in read("cards.md")


@pytest.mark.parametrize("kind", [kind for kind in TABLES if kind != "objectives"])
def test_both_pages_name_every_part(kind):
    for file in ("objectives.md", "cards.md"):
        assert [name for name in TABLES[kind] if f"`{name}`" not in read(file)] == []


def test_every_row_of_a_table_has_as_many_cells_as_its_head():
    for text in (page(), presets_table()):
        for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.M):
            cells = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
            assert len(cells) == 1, table


def test_signs_of_markdown_are_escaped_outside_of_code_and_bars_everywhere():
    said = _text("a_b `x_|y` c|d `z|w` [e] `u|v`")
    assert said == "a\\_b `x_\\|y` c\\|d `z\\|w` \\[e\\] `u\\|v`"


def test_the_program_writes_the_pages_of_a_folder(tmp_path):
    (tmp_path / "objectives.md").write_text(read("objectives.md").replace("[`dpo`]", "[`dqo`]"))
    command = [sys.executable, "-m", "luce.objectives.page", str(tmp_path)]
    subprocess.run(command, check=True, timeout=300)
    for name in ("objectives.md", "cards.md"):
        assert (tmp_path / name).read_text(encoding="utf-8") == read(name)
