"""A text may hold what Unicode calls the end of a line (U+0085, U+2028 …). In a .jsonl file only a
newline ends one: nothing that luce wrote may come apart when luce reads it."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luce.errors import LuceError
from luce.files import read_jsonl, write_jsonl
from luce.objectives import make_objective
from luce.online.blocks import Blocks
from luce.recipe.cost_rows import read_log_probs
from luce.recipe.online import online_run
from luce.recipe.online_rows import rows_to_train
from luce.recipe.run import train_run
from luce.recipe.schema import Online
from luce.report import write_report
from luce.report.run import load_run
from luce.train.lines import whole_lines

ENDS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\r"
ODD = "".join(f"a{end}" for end in ENDS)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(texts=st.lists(st.text(alphabet=f"ab\n\ud800{ENDS}"), max_size=4))
def test_what_is_written_is_read(tmp_path_factory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("lines") / "rows.jsonl"
    rows = [{"text": text, "n": n} for n, text in enumerate(texts)]
    write_jsonl(path, rows)
    assert read_jsonl(path) == list(whole_lines(path)) == rows


def test_a_torn_last_line_is_left_out_and_another_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert list(whole_lines(path)) == [{"step": 1}, {"step": 2}]
    path.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(LuceError, match=r"metrics.jsonl:2: not JSON .*Mend or delete the line"):
        list(whole_lines(path))


def test_shared_work_and_rounds_to_train_on(tmp_path: Path) -> None:
    blocks, rows = Blocks(tmp_path / "samples", 1), [{"text": ODD}]
    assert blocks.work(lambda _: rows) == 1
    assert blocks.rows() == rows and Blocks(tmp_path / "samples", 1).work(pytest.fail) == 0
    write_jsonl(tmp_path / "pairs.jsonl", rows)
    (line,) = rows_to_train(0, Online(annotator="not:asked"), [tmp_path / "pairs.jsonl"], 1)
    assert json.loads(line) == rows[0]


def test_log_probs_of_a_row_with_an_odd_name(tmp_path: Path) -> None:
    row = {"id": ODD, "chosen": {"policy": [-1.0]}, "rejected": {"policy": [-2.0]}}
    write_jsonl(tmp_path / "rows.jsonl", [row, row])
    found = read_log_probs(tmp_path / "rows.jsonl", make_objective("simpo", {}))
    assert [row.place.line for row in found] == [1, 2]


@pytest.fixture
def odd(bench, tmp_path) -> dict:
    """The recipe of a run whose prompts, responses, annotators and sources hold them all."""
    rows = [
        {"prompt": f"say {i} {ODD}", "chosen": f"yes {ODD}", "rejected": f"no {i}",
         "annotator": f"ann{ODD}", "source": f"web{ODD}{i % 2}"}
        for i in range(16)
    ]  # fmt: skip
    write_jsonl(tmp_path / "odd.jsonl", rows)
    return {
        "name": "odd",
        "output_dir": str(tmp_path / "run"),
        "model": {"path": str(bench.model)},
        "data": {"path": str(tmp_path / "odd.jsonl"), "eval": 0.25, "max_length": 400},
        "objective": "dpo",
        "train": {"max_steps": 4, "batch_size": 4, "save_steps": 1, "eval_steps": 1},
        "evaluate": {"sample_prompts": 2, "max_new_tokens": 6, "sample_steps": 2},
        "diagnose": ["over_optimization"],
    }


def test_a_run_is_read_and_gone_on_with(odd, tmp_path: Path) -> None:
    folder = train_run(odd)
    before = (folder / "metrics.jsonl").read_bytes()
    assert any(ODD in json.dumps(row, ensure_ascii=False) or "web" in json.dumps(row)
               for row in read_jsonl(folder / "held_out.jsonl"))  # fmt: skip
    odd["train"]["max_steps"] = 6
    train_run(odd, resume=True, allow_change=["train.max_steps"])
    after = (folder / "metrics.jsonl").read_bytes()
    assert len(after) > len(before)
    assert {row["step"] for row in read_jsonl(folder / "metrics.jsonl")} >= set(range(1, 7))
    assert load_run(folder).damage == ()
    assert write_report(folder).exists()


def test_rounds_whose_samples_hold_them(odd, tmp_path: Path, monkeypatch) -> None:
    """Whatever the policy says, its answers are read as these."""
    monkeypatch.chdir(tmp_path)
    Path("odd_judge.py").write_text(
        "def length(prompt, responses):\n    return [float(len(r)) for r in responses]\n"
    )
    from luce.data.template import Renderer

    plain = Renderer.response_text
    monkeypatch.setattr(Renderer, "response_text", lambda self, ids: ODD + plain(self, ids))
    odd["train"] = {"max_steps": 1, "batch_size": 4}
    odd["online"] = {
        "rounds": 2, "n": 3, "prompts_per_round": 4, "block": 2, "max_new_tokens": 6,
        "annotator": "odd_judge:length", "train_on": "union",
    }  # fmt: skip
    odd.pop("diagnose")
    folder = online_run(odd)
    assert [line["round"] for line in read_jsonl(folder / "rounds.jsonl")] == [1, 2]
    rows = read_jsonl(folder / "rounds" / "002" / "samples.jsonl")
    assert all(sample["text"].startswith(ODD) for row in rows for sample in row["samples"])
