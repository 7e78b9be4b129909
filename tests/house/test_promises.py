"""Every promise names tests that are there, and every test that is named stands for itself."""

import ast
import re

import pytest

PAGES = ("docs/promises.md", "SECURITY.md")
PLACE = re.compile(r"`(tests/[\w/.]+)(?:::(\w+))?`")


def places(root):
    return [
        pytest.param(path, name, id=f"{path}::{name}" if name else path)
        for page in PAGES
        for path, name in PLACE.findall((root / page).read_text(encoding="utf-8"))
    ]


def functions(text):
    return {n.name for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)}


def test_every_test_that_a_promise_names_is_there(root):
    missing = []
    for param in places(root):
        path, name = param.values
        if not (root / path).exists():
            missing.append(path)
        elif name and name not in functions((root / path).read_text(encoding="utf-8")):
            missing.append(f"{path}::{name}")
    assert missing == []


def test_every_promise_has_a_test(root):
    rows = re.findall(
        r"^\| (\d+) \| (.+?) \| (.+?) \|$",
        (root / "docs/promises.md").read_text(encoding="utf-8"),
        flags=re.M,
    )
    assert [int(number) for number, _, _ in rows] == list(range(1, len(rows) + 1))
    assert all(PLACE.search(tests) for _, _, tests in rows) and len(rows) >= 19
