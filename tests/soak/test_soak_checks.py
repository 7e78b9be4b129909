"""The ledger's checks find what they are there for: each is shown a fault that was put in."""

import json
import shutil
import struct
from pathlib import Path

import pytest
from soak_checks import (
    differences,
    kept_steps,
    row_faults,
    sample_faults,
    step_faults,
    unlike_lines,
    vote_faults,
)
from soak_processes import fair
from soak_work import ROWS, WORK, lines, recipe_of, write_data


def metrics(*steps: int) -> list[dict]:
    held_out = {"split": "eval", "step": 2}
    return [{"split": "train", "step": step} for step in steps] + [held_out]


def test_every_step_is_there_once() -> None:
    assert step_faults(metrics(1, 2, 3), 3) == []
    assert step_faults(metrics(1, 2, 2, 3), 3) == ["step 2 is there 2 times"]
    assert step_faults(metrics(1, 3), 3) == ["step 2 is missing"]
    assert step_faults(metrics(1, 2, 3, 4), 3) == ["step 4 is beyond the last"]
    assert step_faults(metrics(2, 1, 3), 3) == ["the steps are out of order"]


def noted(step: int, *rows: int) -> dict:
    return {"step": step, "rows": [["pairs.jsonl", row] for row in rows]}


def test_every_row_is_trained_on_as_often_as_there_are_epochs() -> None:
    """Four lines, one held out and one too long: two epochs of two rows, with step 2 done again."""
    kept, changed = kept_steps([noted(1, 1, 3), noted(2, 3, 1), noted(2, 3, 1)])
    assert changed == [] and row_faults(kept, 4, [2, 4], 2, 2) == []
    assert row_faults(kept, 4, [4], 2, 2) == ["line 2 was trained on 0 times, not 2"]
    assert row_faults(kept, 2, [2], 2, 2) == ["line 3 is not in the data"]
    assert row_faults(kept, 4, [2, 4], 1, 2)[0] == "line 1 was trained on 2 times, not 1"
    assert row_faults(kept, 4, [2, 4], 2, 3) == ["the rows of step 3 were not noted"]
    twice, _ = kept_steps([noted(1, 1, 3), noted(2, 3, 3)])
    assert row_faults(twice, 4, [2, 4], 2, 2) == [
        "line 1 was trained on 1 times, not 2",
        "line 3 was trained on 3 times, not 2",
    ]


def test_a_step_that_has_other_rows_the_second_time_is_told() -> None:
    _, changed = kept_steps([noted(1, 1, 3), noted(1, 1, 2)])
    assert changed == ["step 1 had other rows when it was done again"]


def test_every_prompt_has_its_samples() -> None:
    rows = [{"prompt": "a"}, {"prompt": "a"}, {"prompt": "b"}, {"prompt": "b"}]
    assert sample_faults(rows, ["a", "b"], 2) == []
    assert sample_faults(rows[1:], ["a", "b"], 2) == ["'a' has 1 samples, not 2"]
    assert sample_faults(rows, ["a"], 2) == ["'b' was not asked"]


def vote(who: str, what: str, **more: object) -> dict:
    return {"annotator": who, "prompt": what, "ranks": [1, 2], "at": "t", "seconds": 1.0} | more


def test_a_lost_vote_and_a_doubled_one_are_found() -> None:
    votes, told = [vote("anna", "a"), vote("ben", "a")], [("anna", "a"), ("ben", "a")]
    assert vote_faults(votes, told, 2) == []
    assert vote_faults(votes[:1], told) == ["ben on 'a' was saved and is lost"]
    assert vote_faults([*votes, votes[0]], told) == ["anna on 'a' is exported 2 times"]
    assert vote_faults(votes, [*told, told[0]]) == ["anna was told twice that 'a' is saved"]
    assert vote_faults(votes, told, 3) == ["2 votes, not 3"]
    # saved by a server that was killed before it could say so: no fault
    assert vote_faults(votes, told[:1], 2) == []


def test_exports_are_compared_without_their_times_and_order() -> None:
    ours = [vote("anna", "a"), vote("ben", "a", at="u", seconds=2.0)]
    theirs = [vote("ben", "a"), vote("anna", "a")]
    assert unlike_lines(ours, theirs) == []
    (found, other) = unlike_lines([vote("anna", "a", ranks=[2, 1])], [vote("anna", "a")])
    assert "[2, 1]" in found + other


def tensors(metadata: dict, data: bytes) -> bytes:
    header = {"__metadata__": metadata, "x": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.fixture
def run(tmp_path) -> Path:
    folder = tmp_path / "run"
    for step in ("step-00000003", "step-00000006"):
        (folder / "checkpoints" / step).mkdir(parents=True)
        (folder / "checkpoints" / step / "state.json").write_text("{}")
    (folder / "manifest.json").write_text('{"created": "now", "steps": 6}')
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5}\n')
    (folder / "timing.jsonl").write_text('{"seconds": 0.5}\n')
    (folder / "report.html").write_text("at 2026-01-02T03:04:05+00:00, loss 0.5")
    (folder / "model.safetensors").write_bytes(tensors({"a": "1", "b": "2"}, b"xy"))
    return folder


def other(run: Path) -> Path:
    return Path(shutil.copytree(run, run.with_name("other")))


def test_what_may_differ_is_not_told(run) -> None:
    again = other(run)
    (again / "manifest.json").write_text('{"steps": 6, "created": "later"}')
    (again / "timing.jsonl").write_text('{"seconds": 0.7}\n')
    (again / "report.html").write_text("at 2026-11-12T13:14:15+00:00, loss 0.5")
    (again / "model.safetensors").write_bytes(tensors({"b": "2", "a": "1"}, b"xy"))
    shutil.move(again / "checkpoints" / "step-00000003", again / "checkpoints" / "step-00000005")
    assert differences(run, again) == []


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("manifest.json", b'{"created": "now", "steps": 7}'),
        ("metrics.jsonl", b'{"step": 1, "loss": 0.50000001}\n'),
        ("report.html", b"at 2026-01-02T03:04:05+00:00, loss 0.6"),
        ("model.safetensors", tensors({"a": "1", "b": "2"}, b"xz")),
        ("model.safetensors", tensors({"a": "1", "b": "3"}, b"xy")),
        ("checkpoints/step-00000006/state.json", b'{"step": 5}'),
    ],
)
def test_a_byte_that_differs_is_found(run, name, found) -> None:
    again = other(run)
    (again / name).write_bytes(found)
    assert differences(run, again) == [f"{name}: differs"]


def test_a_file_too_many_or_too_few_is_found(run) -> None:
    again = other(run)
    (again / "metrics.jsonl").unlink()
    (again / "left.tmp").write_text("")
    assert differences(run, again) == [
        "left.tmp: only in one of the runs",
        "metrics.jsonl: only in one of the runs",
    ]


def test_how_a_process_may_end() -> None:
    assert fair(0, None) and not fair(1, None) and not fair(-9, None)
    assert fair(-9, "SIGKILL") and not fair(143, "SIGKILL") and fair(0, "SIGTERM")
    assert fair(143, "SIGTERM") and fair(130, "SIGINT") and not fair(1, "SIGINT")


def test_the_recipes_and_rows_of_a_cycle(tmp_path) -> None:
    from luce.recipe.load import load_recipe
    from luce.recipe.online_rl_check import check_rl, is_rl

    write_data(tmp_path, 0)
    for name in ("pairs", "feedback", "tasks"):
        assert len(list(lines(tmp_path / f"{name}.jsonl"))) == ROWS
    for work in WORK:
        if work.command in ("train", "online"):
            found = load_recipe(recipe_of(work, tmp_path, 3, tmp_path))
            assert found.recipe.train.seed == 3
            if is_rl(found):
                check_rl(found)
