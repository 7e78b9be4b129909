"""`luce eval arena-hard` by judging: both games in Arena-Hard's own format, then the same table."""

import json
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "annotate" / "judge"))

from judge_server import Answer, JudgeServer, by_points, chat  # noqa: E402

from luce.annotate.judge import load_template  # noqa: E402
from luce.cli.main import run  # noqa: E402

POINTS = {"new": (9, 2, 4, 6), "base": (3, 4, 4, 5), "weak": (1, 5, 3, 1)}


def label(first, second):
    """How many points decide, and how strongly."""
    ahead = first - second
    return {0: "A=B"}.get(ahead) or ("A" if ahead > 0 else "B") + (
        ">>" if abs(ahead) > 2 else ">"
    ) + ("B" if ahead > 0 else "A")


def by_strength(request):
    first, second = (int(n) for n in re.findall(r"points: ([0-9]+)", request.content))
    return chat(f"I compared.\n[[{label(first, second)}]]")


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    questions = [{"question_id": f"q{i}", "turns": [{"content": f"Do {i}"}]} for i in range(4)]
    write("question.jsonl", questions)
    for model, points in POINTS.items():
        rows = [
            {"question_id": f"q{i}", "model_id": model,
             "choices": [{"turns": [{"content": f"points: {n} {model}"}]}]}
            for i, n in enumerate(points)
        ]  # fmt: skip
        write(f"model_answer/{model}.jsonl", rows)
    running = JudgeServer()
    running.answer = by_strength
    yield running
    running.stop()


def write(path, rows):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))


def games(model, judge="t"):
    path = Path("model_judgment") / judge / f"{model}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


FILES = ("--questions", "question.jsonl", "--answers", "model_answer", "--baseline", "base")


@pytest.fixture
def asked(server, capsys):
    def ask(*words, judge=("--judge", "t")):
        where = ("--base-url", server.url) if "--judge" in judge else ()
        code = run(["eval", "arena-hard", *judge, *where, "--refits", "0", "--json", *words])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out.startswith("{") else said.out + said.err

    return ask


def test_both_games_are_written_as_arena_hard_has_them(server, asked, capsys):
    code, found = asked(*FILES)
    assert code == 0 and len(server.requests) == 2 * 2 * 4
    for model in ("new", "weak"):
        rows = games(model)
        assert [row["question_id"] for row in rows] == [f"q{i}" for i in range(4)]
        for row, ours, base in zip(rows, POINTS[model], POINTS["base"], strict=True):
            assert (row["model"], row["judge"], row["baseline"]) == (model, "t", "base")
            # the baseline is A in the first game, the model in the second
            scores = [game["score"] for game in row["games"]]
            assert scores == [label(base, ours), label(ours, base)]
            assert row["games"][0]["judgment"] == f"I compared.\n[[{label(base, ours)}]]"
            shown = row["games"][1]["user_prompt"]
            assert shown.index(f"points: {ours} {model}") < shown.index(f"points: {base} base")
            assert row["template"] == load_template("arena_hard").hash
    rates = {line["model"]: line["win_rate"]["value"] for line in found["models"]}
    # new: >> (3), <, =, > in both orders: (3 + ½ + 1) of (3 + 1 + 1 + 1)
    assert rates["base"] == 0.5 and rates["new"] == pytest.approx(4.5 / 6, abs=1e-6)
    # weak: <, >, <, <<
    assert rates["weak"] == pytest.approx(1 / 6, abs=1e-6)
    assert (
        run(["eval", "arena-hard", "--judgments", "model_judgment/t", "--refits", "0", "--json"])
        == 0
    )
    assert json.loads(capsys.readouterr().out)["models"] == found["models"]
    styled = asked(*FILES, "--style")[1]
    assert styled["style_effects"] is not None and styled["judging"]["calls"] == 0


def test_games_without_a_verdict_are_null_and_bound_the_rate(server, asked):
    server.answer = lambda r: chat("[[A>B]] or [[B>A]]") if "Do 0" in r.content else by_strength(r)
    code, found = asked(*FILES)
    assert code == 0 and [game["score"] for game in games("new")[0]["games"]] == [None, None]
    (line,) = (line for line in found["models"] if line["model"] == "new")
    assert line["missing"] == 2
    assert line["win_rate_if_missing_lost"] < line["win_rate"]["value"]
    assert line["win_rate_if_missing_won"] > line["win_rate"]["value"]
    assert found["judging"]["invalid"] == {"t": {"ambiguous": 4}}


def test_a_judge_that_always_names_the_first_gives_a_half(server, asked):
    server.answer = lambda request: chat("[[A>>B]]")
    rates = {line["model"]: line["win_rate"]["value"] for line in asked(*FILES)[1]["models"]}
    assert rates == pytest.approx({"new": 0.5, "base": 0.5, "weak": 0.5})


def test_plain_labels_count_as_weak_ones(server, asked):
    server.answer = by_points
    code, _ = asked(*FILES, "--template", "pairwise")
    assert [g["score"] for g in games("new")[0]["games"]] == ["B>A", "A>B"]
    assert code == 0 and [g["score"] for g in games("new")[2]["games"]] == ["A=B", "A=B"]


def test_what_is_not_answered_is_left_for_the_next_call(server, asked):
    server.answer = lambda r: (
        Answer("", status=503, headers={"Retry-After": "999"})
        if re.search("Do 2.*base.*new", r.content)
        else by_strength(r)
    )
    code, found = asked(*FILES)
    assert code == 1 and [row["question_id"] for row in games("new")] == ["q0", "q1", "q3"]
    assert "1 left without an answer" in found["judging"]["left"][0]
    server.answer = by_strength
    code, found = asked(*FILES)
    assert code == 0 and found["judging"]["calls"] == 1 and len(games("new")) == 4


def test_a_dry_run_and_missing_answers(server, asked):
    code, said = asked(*FILES, "--dry-run")
    assert code == 0 and "16 verdicts: 16 calls to make" in said and not server.requests
    write("model_answer/weak.jsonl", [])
    Path("model_answer/weak.jsonl").unlink()
    Path("model_answer/new.jsonl").write_text(
        Path("model_answer/new.jsonl").read_text().split("\n")[0] + "\n"
    )
    _, found = asked(*FILES, "--prior-sd", "2")
    assert found["judging"]["left_out"] == ["3 questions have no answer of new, and are left out."]
    Path("model_answer/new.jsonl").unlink()
    assert "answered by base and by another model" in asked(*FILES)[1]


def test_what_cannot_be_used_is_told(server, asked):
    for words, message in (
        (FILES[:4], "A judge needs --questions, --answers and --baseline"),
        ((*FILES[:4], "--baseline", "bsae"), "No answers of the baseline. Did you mean 'base'"),
        ((*FILES, "--judgments", "x"), "hold verdicts already"),
        ((*FILES, "--template", "mt_bench_single"), "Give one that compares two responses"),
    ):
        code, said = asked(*words)
        assert code == 2 and message in said, said
    assert "a judge needs them" in asked("--questions", "question.jsonl", judge=())[1]
    Path("f.py").write_text("def half(comparisons):\n    return [0.5 for _ in comparisons]\n")
    assert "files hold its replies" in asked(*FILES, judge=("--annotator", "f:half"))[1]
    write("twice.jsonl", [{"uid": 1, "prompt": "x"}] * 2)
    assert "question 1 stands twice" in asked("--questions", "twice.jsonl", *FILES[2:])[1]
    write("turns.jsonl", [{"uid": 1, "turns": ["x", "y"]}])
    assert "turns.jsonl:1: turns: one turn" in asked("--questions", "turns.jsonl", *FILES[2:])[1]
    write(
        "model_answer/again.jsonl", [{"uid": "q0", "model": "new", "messages": [{"content": "x"}]}]
    )
    assert "new answers question q0 a second time" in asked(*FILES)[1]
    assert not server.requests
