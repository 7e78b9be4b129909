"""Each command hands what was typed to the function behind it."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from luce.cli.main import run
from luce.cli.settings import parse_settings
from luce.errors import LuceError


@pytest.fixture
def behind(monkeypatch):
    """Puts a recording function in place of the one behind a command."""

    def replace(module: str, name: str, result=None):
        calls = []

        def record(*arguments, **keywords):
            calls.append((*arguments, *keywords.items()))
            return result

        fake = ModuleType(module)
        setattr(fake, name, record)
        monkeypatch.setitem(sys.modules, module, fake)
        return calls

    return replace


def test_demo(behind):
    calls = behind("luce.recipe.demo", "run_demo")
    assert run(["demo"]) == 0
    assert run(["demo", "--output-dir", "out", "--seed", "3", "--quick"]) == 0
    assert calls == [(Path("runs/demo"), 0, False), (Path("out"), 3, True)]


def test_train(behind):
    calls = behind("luce.recipe.run", "train_command")
    assert run(["train", "r.yaml", "train.seed=1", "--resume", "objective.dpo.beta=0.05"]) == 0
    assert run(["train", "r.yaml", "--dry-run"]) == 0
    changes = ["--allow-change", "train.max_steps", "--allow-change", "data"]
    assert run(["train", "r.yaml", "--resume", *changes]) == 0
    assert calls == [
        ("r.yaml", ("train.seed=1", "objective.dpo.beta=0.05"), True, False, ()),
        ("r.yaml", (), False, True, ()),
        ("r.yaml", (), True, False, ("train.max_steps", "data")),
    ]


def test_check_ends_with_the_code_of_what_it_found(behind):
    calls = behind("luce.recipe.check", "check_command", 1)
    assert run(["check", "r.yaml", "data.limit=10", "--json"]) == 1
    assert calls == [("r.yaml", ["data.limit=10"], True)]


def test_cost_prints_rows(behind, capsys):
    rows = [{"id": "1", "cost": 0.5, "margin": 0.25}, {"id": "2", "cost": float("nan")}]
    calls = behind("luce.recipe.cost", "run_cost", rows)
    line = "cost x.jsonl --objective dpo --set beta=1e-1 --set label=true --grad --dtype float32"
    assert run(line.split()) == 0
    assert capsys.readouterr().out.splitlines() == ["id  cost  margin", "1   0.5   0.25", "2   nan"]
    assert run([*line.split(), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[1] == {"id": "2", "cost": None}
    settings = {"beta": 0.1, "label": True}
    assert calls[0] == ("x.jsonl", "dpo", settings, True, "float32", {})
    means = ["--running", "kl=0.3", "--running", "rewards/good=1"]
    assert run([*line.split(), *means]) == 0
    assert calls[2][-1] == {"kl": 0.3, "rewards/good": 1}


def test_cost_computes_what_the_formula_says(tmp_path, capsys):
    row = {
        "id": "a",
        "chosen": {"policy": [-1.0, -2.0], "reference": [-1.5, -2.5]},
        "rejected": {"policy": [-3.0], "reference": [-2.0]},
    }
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    line = ["cost", str(tmp_path / "rows.jsonl"), "--objective", "dpo", "--set", "beta=0.1"]
    assert run([*line, "--json"]) == 0
    (cost,) = json.loads(capsys.readouterr().out)
    # h = (-3 + 4) - (-3 + 2) = 2, margin = 0.2, cost = log(1 + exp(-0.2))
    assert cost["margin"] == pytest.approx(0.2, abs=1e-12)
    assert cost["cost"] == pytest.approx(0.5981388693815918, abs=1e-12)


@pytest.mark.parametrize("text", ["beta", "=1", ""])
def test_a_setting_without_name_or_value_is_refused(text):
    with pytest.raises(LuceError, match="--set: expected `name=value`"):
        parse_settings([text])


def test_report_of_one_run_and_of_several(monkeypatch, capsys):
    calls = []
    monkeypatch.setattr("luce.report.write_report", lambda run: calls.append(run) or run / "r")
    monkeypatch.setattr("luce.report.write_comparison", lambda *a: calls.append(a) or a[1])
    assert run(["report", "a"]) == 0
    assert run(["report", "a", "b", "--output", "c.html"]) == 0
    assert calls == [Path("a"), ((Path("a"), Path("b")), Path("c.html"))]
    assert capsys.readouterr().out == "a/r\nc.html\n"
    assert run(["report"]) == 2


def test_convert_writes_rows_and_says_what_it_dropped(tmp_path, capsys):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [{"question": "q", "chosen": "a", "rejected": "b"}, {"question": "q", "chosen": "a"}]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    line = ["data", "convert", str(source), str(out), "--to", "messages_pairs"]
    line += ["--column", "prompt=question"]
    assert run(line) == 2
    assert f"{source}:2: rejected" in capsys.readouterr().err and not out.exists()
    assert run([*line, "--bad-rows", "drop"]) == 0
    assert "1 rows as messages_pairs; dropped 1" in capsys.readouterr().out
    assert json.loads(out.read_text()) == {
        "messages": [{"role": "user", "content": "q"}],
        "chosen": {"role": "assistant", "content": "a"},
        "rejected": {"role": "assistant", "content": "b"},
    }
    assert run([*line, "--bad-rows", "drop"]) == 2
    assert "exists" in capsys.readouterr().err
