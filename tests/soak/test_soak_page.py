"""The summary adds up what the ledger says, and a fault is on the page."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from soak_page import OPEN, page, summary, workload, write

PAGE = Path(__file__).resolve().parents[2] / "docs" / "soak.md"
EVENTS = [
    {"t": 0.0, "event": "soak", "minutes": 120.0, "seed": 0},
    {"t": 1.0, "event": "start", "work": "dpo-0", "role": "calm 0.0"},
    {"t": 2.0, "event": "start", "work": "dpo-0", "role": "cycle 0.0"},
    {"t": 3.0, "event": "kill", "work": "dpo-0", "signal": "SIGKILL"},
    {"t": 4.0, "event": "resume", "work": "dpo-0"},
    {"t": 5.0, "event": "kill", "work": "dpo-1", "signal": "SIGTERM"},
    {"t": 6.0, "event": "step", "work": "dpo-0", "step": 1, "done": 2, "rows": [1, 2, 3, 4]},
    {"t": 7.0, "event": "checked", "work": "dpo-0"},
    {"t": 8.0, "event": "votes", "work": "annotate-0", "exported": 90, "told": 90},
    {"t": 9.0, "event": "round", "work": "online-1", "round": 1},
    {"t": 10.0, "event": "long", "work": "long-train", "steps": 1000, "rows": 4000},
    {"t": 11.0, "event": "cycle", "number": 0},
    {"t": 7200.0, "event": "done"},
]


@pytest.fixture
def folder(tmp_path) -> Callable[..., Path]:
    def put(*more: dict) -> Path:
        lines = "".join(json.dumps(event) + "\n" for event in [*EVENTS, *more])
        (tmp_path / "ledger.jsonl").write_text(lines)
        (tmp_path / "memory.jsonl").write_text("")
        return tmp_path

    return put


def test_the_sums(folder) -> None:
    found = summary(folder())
    assert found["workloads"]["dpo"] == {
        "start": 2, "SIGKILL": 1, "SIGTERM": 1, "resume": 1, "steps": 1, "steps_noted": 1,
        "steps_done": 2, "rows": 4, "checked": 1, "fault": 0,
    }  # fmt: skip
    assert found["total"]["steps"] == 1001 and found["total"]["rows"] == 4004
    assert (found["total"]["votes"], found["total"]["rounds"]) == (90, 1)
    assert (found["hours"], found["cycles"], found["ended"]) == (2.0, 1, True)
    assert found["faults"] == []
    assert [workload(n) for n in ("dpo-lora-1", "long-train")] == ["dpo-lora", "long-train"]


FAULT = {"t": 12.0, "event": "fault", "work": "dpo-0", "what": "cycle 0: model | gone\nmore"}


def test_a_fault_is_on_the_page(folder, tmp_path) -> None:
    (found,) = write([folder(FAULT)], tmp_path / "soak.md")
    text = (tmp_path / "soak.md").read_text()
    assert found["total"]["fault"] == 1
    assert f"| dpo-0 | cycle 0: model \\| gone | {OPEN} |" in text
    assert json.loads((tmp_path / "summary.json").read_text())["faults"][0]["work"] == "dpo-0"
    assert "| dpo | 1 | 1 | 1 | 0 | 1 | 1 | 4 | 0 | 0 | 1 |" in text


def test_what_is_checked_again_stands_for_the_first_check(folder) -> None:
    other = FAULT | {"what": "cycle 1: lost"}
    mended = {"t": 13.0, "event": "again", "work": "dpo-0", "cycle": 0, "faults": []}
    found = summary(folder(FAULT, other, mended))
    assert found["faults"] == [{"work": "dpo-0", "what": "cycle 1: lost"}] and found["again"] == 1
    still = summary(folder(FAULT, mended | {"faults": ["x: differs"]}))
    assert still["faults"] == [{"work": "dpo-0", "what": "cycle 0: x: differs"}]
    assert still["workloads"]["dpo"]["fault"] == 1


def test_memory_on_the_page(folder) -> None:
    slope = {"value": -0.5, "low": -1.0, "high": 0.25}
    line = {"name": "long-train", "mib": [500.0, 499.0], "n": 4000, "slope": slope, "flat": True}
    text = page([summary(folder()) | {"memory_within": [line]}])
    assert "| 4,000 | 500 | 499 | −0.50 [−1.00, +0.25] | yes |" in text
    text = page([summary(folder()) | {"memory_between": [line | {"flat": False}]}])
    assert "| long-train | 4,000 | 500 | 499 | −0.50 [−1.00, +0.25] | **no** |" in text


def test_the_page_of_the_documentation_leaves_nothing_open() -> None:
    text = PAGE.read_text(encoding="utf-8")
    first = next(line for line in text.splitlines() if line.startswith("| **all** |"))
    numbers = [int(cell.replace(",", "")) for cell in first.split("|")[2:-1]]
    compared, killed, resumed, steps = numbers[0], sum(numbers[1:4]), numbers[4], numbers[5]
    assert compared > 10 and killed > 40 and resumed > 40 and steps > 1000
    assert OPEN not in text
