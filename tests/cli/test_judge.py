"""`luce judge`: two sides, an annotator, a file of verdicts and what it comes to."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "annotate" / "judge"))

from judge_server import Answer, JudgeServer, chat  # noqa: E402

from luce.cli.main import run  # noqa: E402
from luce.data.pack import pack  # noqa: E402
from luce.data.template import Renderer  # noqa: E402
from luce.models.export import save_model  # noqa: E402
from luce.models.reward import load_reward_model  # noqa: E402
from luce.types import Demonstration, Place  # noqa: E402


@pytest.fixture
def sides(tmp_path, monkeypatch):
    """Two files of responses to the same prompts: a has more points in three of four."""
    monkeypatch.chdir(tmp_path)
    points = {"a": (4, 5, 1, 7), "b": (3, 2, 6, 0)}
    for name, numbers in points.items():
        rows = [
            {"prompt": f"question {i}", "response": f"points: {n} {name}"}
            for i, n in enumerate(numbers)
        ]
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["a.jsonl", "b.jsonl"]


@pytest.fixture
def server():
    running = JudgeServer()
    yield running
    running.stop()


def verdicts(path="verdicts.jsonl"):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_a_prompted_model_is_asked_in_both_orders(sides, server, capsys):
    asked = ["judge", *sides, "--model", "tester", "--base-url", server.url]
    assert run([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["complete"] and found["result"]["win_rates"][0]["win_rate"] == 0.75
    rows = verdicts()
    assert len(rows) == 8 and {row["order"] for row in rows} == {"ab", "ba"}
    assert [row["preference"] for row in rows if row["order"] == "ab"] == [1, 1, 0, 1]
    assert rows[0]["response_a"] == "points: 4 a" and rows[0]["model_a"] == "a"
    # nothing is asked twice
    assert run(asked) == 0 and len(server.requests) == 8
    assert "verdicts: verdicts.jsonl" in capsys.readouterr().out
    assert run(["eval", "win-rate", "--verdicts", "verdicts.jsonl", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["win_rates"] == found["result"]["win_rates"]


def test_a_judge_that_always_says_a_scores_a_half(sides, server, capsys):
    server.answer = lambda request: chat("Verdict: [[A]]")
    assert run(["judge", *sides, "--model", "t", "--base-url", server.url, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["result"]
    assert found["win_rates"][0]["win_rate"] == 0.5


def test_what_cannot_be_asked_is_told_and_asked_again(sides, server, capsys):
    asked = ["judge", *sides, "--model", "t", "--base-url", server.url]
    good = server.answer
    server.answer = lambda request: (
        Answer("busy", status=429, headers={"Retry-After": "9999"})
        if "question 2" in request.content
        else good(request)
    )
    code = run(asked)
    shown = capsys.readouterr()
    assert code == 1 and "429" in shown.out
    assert {row["prompt"] for row in verdicts() if row["preference"] is not None} >= {"question 0"}
    server.answer = good
    assert run(asked) == 0 and len([r for r in verdicts() if r["preference"] is not None]) == 8


def test_a_dry_run_asks_nothing(sides, server, capsys):
    given = ["--price-in", "1", "--price-out", "2", "--dry-run"]
    assert run(["judge", *sides, "--model", "t", "--base-url", server.url, *given]) == 0
    assert "8 verdicts: 8 calls to make" in capsys.readouterr().out
    assert not server.requests and not Path("verdicts.jsonl").exists()


def test_a_chat_model_of_this_process(sides, tiny_model_dir, capsys):
    Path("small.txt").write_text(
        "parser: final_label\nmax_tokens: 3\n---\n=== user ===\n"
        "{prompt} {response_a} {response_b}\n"
    )
    asked = ["judge", *sides, "--local", str(tiny_model_dir), "--template", "small.txt"]
    assert run([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    # a random model says nothing that can be read: counted, and never scored
    assert found["complete"] and found["result"] is None
    rows = verdicts()
    assert len(rows) == 8 and all(row["preference"] is None and row["reason"] for row in rows)


def test_a_function_of_one_s_own(sides, capsys, monkeypatch):
    Path("mine_judge.py").write_text(
        "def longer(comparisons):\n"
        "    return [float(len(c.a) > len(c.b)) if len(c.a) != len(c.b) else 0.5"
        " for c in comparisons]\n"
    )
    monkeypatch.delitem(sys.modules, "mine_judge", raising=False)
    assert run(["judge", *sides, "--annotator", "mine_judge:longer", "--names", "new", "b"]) == 0
    assert "new" in capsys.readouterr().out
    assert [row["preference"] for row in verdicts()] == [0.5] * 4
    for wrong in ("mine_judge:shorter", "no_such_module:f", "mine_judge"):
        assert run(["judge", *sides, "--annotator", wrong]) == 2
        assert f"annotator {wrong!r}" in capsys.readouterr().err


def test_a_reward_model_and_models_that_answer(sides, tiny_model_dir, capsys, tmp_path):
    model = load_reward_model(str(tiny_model_dir), seed=5)
    row = Demonstration(prompt="p", completion="c", place=Place("x", 1), id="x")
    group = Renderer(model.tokenizer).group(row)
    save_model(model, tmp_path / "rm", packed=pack([group], keep_last=True))
    assert run(["judge", *sides, "--reward", "rm", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["result"]
    preferences = [row["preference"] for row in verdicts()]
    assert set(preferences) <= {0, 0.5, 1}
    rate = found["win_rates"][0]["win_rate"]
    assert rate == pytest.approx(sum(preferences) / len(preferences))

    Path("prompts.jsonl").write_text('{"prompt": "say it"}\n{"prompt": "again"}\n')
    given = ["--prompts", "prompts.jsonl", "--reward", "rm", "--max-new-tokens", "6"]
    same = [str(tiny_model_dir), str(tiny_model_dir), "--names", "one", "other"]
    assert run(["judge", *same, *given]) == 0
    assert [row["preference"] for row in verdicts()] == [0.5, 0.5]
    assert run(["judge", *same, "--reward", "rm"]) == 2
    assert "Give --prompts" in capsys.readouterr().err


def test_what_does_not_meet_is_told(sides, capsys):
    rows = [
        {"prompt": "question 0", "response": "x"},
        {"prompt": "question 0", "response": "y"},
        {"prompt": "else", "output": "z"},
    ]
    Path("c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("half.py").write_text("def half(comparisons):\n    return [0.5 for _ in comparisons]\n")
    assert run(["judge", "a.jsonl", "c.jsonl", "--annotator", "half:half"]) == 0
    shown = capsys.readouterr().out
    assert "3 prompts are answered by a only" in shown
    assert "1 prompts are answered by c only" in shown
    assert "1 responses of c have none beside them" in shown
    Path("d.jsonl").write_text('{"prompt": "elsewhere", "response": "x"}\n')
    assert run(["judge", "a.jsonl", "d.jsonl", "--annotator", "half:half"]) == 2
    assert "no prompt in common" in capsys.readouterr().err
    Path("e.jsonl").write_text('{"prompt": "question 0"}\n')
    assert run(["judge", "a.jsonl", "e.jsonl", "--annotator", "half:half"]) == 2
    assert "e.jsonl:1" in capsys.readouterr().err
    assert run(["judge", "a.jsonl", "b.jsonl"]) == 2
    assert "one of --reward, --annotator, --model, --local and --jury" in capsys.readouterr().err
