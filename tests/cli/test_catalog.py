import json
import re
from typing import get_args

import pytest

from luce.cli.catalog import Kind
from luce.cli.main import run
from luce.data.formats import FORMATS
from luce.diagnostics.cards import DIAGNOSTICS
from luce.objectives.cards import TABLES

NAMES = {**TABLES, "formats": FORMATS, "diagnostics": DIAGNOSTICS}
GROUPED = ("objectives", "formats")


def test_every_table_can_be_listed():
    assert set(get_args(Kind)) == set(NAMES)


@pytest.mark.parametrize("kind", NAMES)
def test_every_name_of_a_table_is_listed_once_with_what_it_is(capsys, kind):
    assert run(["list", kind, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert sorted(row["name"] for row in rows) == sorted(NAMES[kind])
    assert all(row["what"] for row in rows)
    assert all(bool(row["group"]) == (kind in GROUPED) for row in rows)

    assert run(["list", kind]) == 0
    shown = capsys.readouterr().out
    entry = r"^  (\w\S*)" if kind in GROUPED else r"^(\w\S*)"
    assert re.findall(entry, shown, flags=re.M) == [row["name"] for row in rows]
    assert max(map(len, shown.splitlines())) <= 80


def test_groups_stand_together(capsys):
    run(["list", "--json"])
    groups = [row["group"] for row in json.loads(capsys.readouterr().out)]
    changes = [a for a, b in zip(groups, [*groups[1:], ""], strict=True) if a != b]
    assert len(changes) == len(set(changes)) > 5


def test_without_a_kind_the_objectives_are_listed(capsys):
    run(["list"])
    assert "simpo" in capsys.readouterr().out


def test_another_kind_is_an_error(capsys):
    assert run(["list", "loses"]) == 2
    assert "loses" in capsys.readouterr().err
