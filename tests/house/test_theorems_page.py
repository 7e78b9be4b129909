"""docs/theorems.md names tests that exist, and one of each name, and every theorem's test."""

import ast
import re
from collections import Counter


def names_of_tests(files):
    """Every test function of these files, with how often its name occurs."""
    nodes = (node for file in files for node in ast.parse(file.read_text()).body)
    names = (node.name for node in nodes if isinstance(node, ast.FunctionDef))
    return Counter(name for name in names if name.startswith("test_"))


def test_the_page_names_tests_that_exist_and_every_test_of_a_theorem(root):
    page = (root / "docs/theorems.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"`(test_\w+)`", page))
    known = names_of_tests((root / "tests").rglob("test_*.py"))
    assert shown <= set(known), f"no such tests: {sorted(shown - set(known))}"
    assert not [name for name in shown if known[name] > 1]
    theorems = names_of_tests((root / "tests/laws").glob("test_theorems*.py"))
    assert not set(theorems) - shown, f"not on the page: {sorted(set(theorems) - shown)}"


def test_every_row_of_the_page_has_a_place_a_statement_and_a_test(root):
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in (root / "docs/theorems.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| ") and not line.startswith("| where")
    ]
    assert len(rows) > 45
    for row in rows:
        assert len(row) == 3 and all(row), row
        assert re.fullmatch(r"`test_\w+`(, `test_\w+`)*", row[2]), row
