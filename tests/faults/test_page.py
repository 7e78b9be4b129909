"""The page of faults is the suite's: every number has a test, and every test a line."""

import re
from pathlib import Path

from fault_bench import ANSWERED, ANSWERS, COUNTED, SAME
from fault_table import LAST, SECTIONS, Collector, Line, page

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "faults.md"
ROW = re.compile(r"^\| ([0-9 ]+) \| (.*?) \| (.*?) \| (.*) \|$", re.M)


def written() -> list[tuple[tuple[int, ...], str, str, str]]:
    text = PAGE.read_text(encoding="utf-8")
    rows = [m.groups() for m in ROW.finditer(text)]
    return [(tuple(map(int, n.split())), what, answer, said) for n, what, answer, said in rows]


def numbers_in_the_sources() -> set[int]:
    """The numbers that stand in a `case(…)` of this folder, tables of cases included."""
    found: set[int] = set()
    for path in HERE.glob("test_*.py"):
        text = path.read_text(encoding="utf-8")
        for given in re.findall(r"case\(\s*((?:[0-9]+,\s*)+)", text):
            found |= {int(n) for n in given.split(",") if n.strip()}
        found |= {int(n) for n in re.findall(r"^ {4,8}(?:one\(\s*)?([0-9]+)[:,] ?", text, re.M)}
        found |= {int(n) for n in re.findall(r'^ {4}"\w+": \(([0-9]+), ', text, re.M)}
        found |= {int(n) for n in re.findall(r"one\(([0-9]+),", text)}
    return found


def test_every_number_of_the_page_has_a_test_and_every_number_is_there() -> None:
    on_page = {number for numbers, *_ in written() for number in numbers}
    assert on_page == set(range(1, LAST + 1))
    assert on_page <= numbers_in_the_sources()


def test_nothing_on_the_page_is_silent() -> None:
    assert {answer for _, _, answer, _ in written()} == set(ANSWERS)
    assert "| silent | 0 |" in PAGE.read_text(encoding="utf-8")
    assert all(said.strip() for *_, said in written())


def test_a_fault_without_an_answer_is_told_as_silent() -> None:
    lines = [
        Line((1,), "a", ANSWERED, ["x | y"], {"passed"}),
        Line((43,), "b", SAME, ["z"], {"passed", "failed"}),
        Line((2, 3), "c", COUNTED, ["<w>"], {"passed"}),
    ]
    text = page(lines)
    assert "| silent | 1 |" in text and "| 43 | b | FAILED | z |" in text
    assert "| 1 | a | answered clearly | x \\| y |" in text and "&lt;w&gt;" in text
    assert "| numbers of the list tried | 4 of 127 |" in text
    assert all(f"## {title}" in text for title in SECTIONS.values())


def test_the_collector_keeps_what_tests_report() -> None:
    class Report:
        when, outcome, passed, failed, skipped = "call", "passed", True, False, False
        user_properties = [
            ("fault", {"numbers": (5,), "what": "w", "answer": SAME}),
            ("says", "hello"),
        ]

    collector = Collector()
    collector.pytest_runtest_logreport(Report())  # type: ignore[arg-type]
    (line,) = collector.lines.values()
    assert (line.numbers, line.says, line.failed) == ((5,), ["hello"], False)
