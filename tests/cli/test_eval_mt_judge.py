"""`luce eval mt-bench` by judging: FastChat's own formats, then the same tables."""

import json
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "annotate" / "judge"))

from judge_server import Answer, JudgeServer, chat  # noqa: E402

from luce.cli.main import run  # noqa: E402

POINTS = {"new": {81: (9, 4), 111: (7, 2)}, "old": {81: (6, 4), 111: (3, 8)}}
"""model → question → points of its answers to both turns."""

QUESTIONS = (
    {"question_id": 81, "category": "writing", "turns": ["Write a poem.", "Shorter."]},
    {"question_id": 111, "category": "math", "turns": ["Two and two?", "Twice that?"]},
)
FILES = ("--questions", "question.jsonl", "--answers", "model_answer", "--references", "refs.jsonl")


def write(path, rows):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))


def rated(request):
    """The points of the last answer that is shown."""
    return chat(f"Hm.\nRating: [[{re.findall('points: ([0-9])', request.content)[-1]}]]")


def paired(request):
    """By the last answers; both conversations have equally many."""
    points = [int(n) for n in re.findall("points: ([0-9])", request.content)]
    first, second = points[len(points) // 2 - 1], points[-1]
    return chat(f"Hm. [[{'A' if first > second else 'B' if first < second else 'C'}]]")


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("question.jsonl", QUESTIONS)
    write("refs.jsonl", [{"question_id": 111, "choices": [{"turns": ["It is 4.", "It is 8."]}]}])
    for model, questions in POINTS.items():
        rows = [
            {"question_id": q, "model_id": model,
             "choices": [{"index": 0, "turns": [f"{model} points: {n}" for n in points]}]}
            for q, points in questions.items()
        ]  # fmt: skip
        write(f"model_answer/{model}.jsonl", rows)
    running = JudgeServer()
    running.answer = rated
    yield running
    running.stop()


@pytest.fixture
def asked(server, capsys):
    def ask(*words, judge=("--judge", "t")):
        where = ("--base-url", server.url) if "--judge" in judge else ()
        code = run(["eval", "mt-bench", *judge, *where, "--resamples", "100", "--json", *words])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out.startswith("{") else said.out + said.err

    return ask


def lines(name):
    return [json.loads(x) for x in Path("model_judgment", name).read_text().splitlines()]


def test_every_answer_is_graded_in_fastchats_format(server, asked, capsys):
    code, found = asked(*FILES)
    assert code == 0 and len(server.requests) == 8
    rows = lines("t_single.jsonl")
    assert {(r["model"], r["question_id"], r["turn"]): r["score"] for r in rows} == {
        (model, str(q), turn): points[turn - 1]
        for model, questions in POINTS.items()
        for q, points in questions.items()
        for turn in (1, 2)
    }
    assert {r["judge"][0] for r in rows} == {"t"} and rows[0]["tstamp"] > 1e9
    assert {r["judge"][1].split("@")[0] for r in rows if r["question_id"] == "111"} == {
        "mt_bench_single_reference"
    }
    scores = {line["model"]: line["score"]["value"] for line in found["single"]["models"]}
    assert scores == {"new": 5.5, "old": 5.25} and found["pairwise"] is None
    new = next(line for line in found["single"]["models"] if line["model"] == "new")
    assert {k: v["value"] for k, v in new["by_category"].items()} == {"math": 4.5, "writing": 6.5}
    given = ["--ratings", "model_judgment/t_single.jsonl", *FILES[:2], "--resamples", "100"]
    assert run(["eval", "mt-bench", *given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["single"] == found["single"]
    assert asked(*FILES)[1]["judging"]["calls"] == 0


def test_the_second_turn_is_shown_with_the_first_and_math_with_its_references(server, asked):
    asked(*FILES)
    shown = {
        (r["model"], r["question_id"], r["turn"]): r["user_prompt"] for r in lines("t_single.jsonl")
    }
    first, second = shown["new", "111", 1], shown["new", "111", 2]
    assert "It is 4." in first and "It is 8." not in first and "Twice" not in first
    order = [
        "Two and two?",
        "new points: 7",
        "Twice that?",
        "It is 4.",
        "It is 8.",
        "new points: 2",
    ]
    places = [second.index(text) for text in order]
    assert places == sorted(places)
    assert "It is" not in shown["new", "81", 2] and "Write a poem." in shown["new", "81", 2]


def test_pairs_are_judged_in_both_orders(server, asked, capsys):
    server.answer = paired
    code, found = asked(*FILES, "--mode", "pairwise")
    assert code == 0 and len(server.requests) == 8 and found["single"] is None
    rows = lines("t_pair.jsonl")
    won = {(r["question_id"], r["turn"]): (r["g1_winner"], r["g2_winner"]) for r in rows}
    assert won == {
        ("81", 1): ("model_1", "model_1"),
        ("81", 2): ("tie", "tie"),
        ("111", 1): ("model_1", "model_1"),
        ("111", 2): ("model_2", "model_2"),
    }
    assert (rows[0]["model_1"], rows[0]["model_2"]) == ("new", "old")
    game = rows[1]["g2_user_prompt"]  # both conversations whole, model 2's first
    order = [
        "Turn 2:\nShorter.",
        "old points: 6",
        "old points: 4",
        "new points: 9",
        "new points: 4",
    ]
    places = [game.index(text) for text in order]
    assert places == sorted(places)
    assert (
        "mt_bench_pairwise_reference" in rows[2]["judge"][1]
        and "It is 4." in rows[2]["g1_user_prompt"]
    )
    new = found["pairwise"]["models"][0]
    assert (new["model"], new["win"], new["tie"], new["loss"]) == ("new", 2, 1, 1)
    assert (
        run(
            [
                "eval",
                "mt-bench",
                "--pairs",
                "model_judgment/t_pair.jsonl",
                "--resamples",
                "100",
                "--json",
            ]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["pairwise"] == found["pairwise"]


def test_both_modes_share_the_purse_and_the_baseline_is_the_opponent(server, asked):
    server.answer = lambda r: rated(r) if "grade" in r.content else paired(r)
    prices = ("--price-in", "1", "--price-out", "1")
    code, found = asked(*FILES, "--mode", "both", "--baseline", "old", *prices)
    assert code == 0 and found["judging"]["calls"] == 16
    assert found["judging"]["cost"] == pytest.approx(16 * 110 / 1e6)
    assert found["pairwise"]["baseline"] == "old" and len(found["pairwise"]["models"]) == 1
    assert len(found["judging"]["files"]) == 2
    code, said = asked(*FILES, "--mode", "both", *prices, "--dry-run", "--store", "new.sqlite")
    assert code == 0 and "16 verdicts: 16 calls to make" in said and len(server.requests) == 16


def test_replies_without_a_verdict_are_counted(server, asked):
    server.answer = lambda r: chat("Lovely.") if "poem" in r.content else rated(r)
    code, found = asked(*FILES)
    assert code == 0 and {
        r["score"] for r in lines("t_single.jsonl") if r["question_id"] == "81"
    } == {-1}
    new = next(line for line in found["single"]["models"] if line["model"] == "new")
    assert (new["ratings"], new["missing"]) == (2, 2)
    assert new["score_if_missing_worst"] == (7 + 2 + 1 + 1) / 4
    assert new["score_if_missing_best"] == (7 + 2 + 10 + 10) / 4
    assert found["judging"]["invalid"] == {"t": {"unparsed": 4}}
    server.answer = lambda r: chat("Lovely.") if "poem" in r.content else paired(r)
    _, found = asked(*FILES, "--mode", "pairwise")
    assert {r["g1_winner"] for r in lines("t_pair.jsonl") if r["question_id"] == "81"} == {"error"}
    assert found["pairwise"]["models"][0]["missing"] == 2


def test_what_is_not_answered_is_left_for_the_next_call(server, asked):
    busy = Answer("", status=503, headers={"Retry-After": "999"})
    server.answer = lambda r: busy if "Shorter" in r.content and "new" in r.content else rated(r)
    code, found = asked(*FILES)
    assert code == 1 and len(lines("t_single.jsonl")) == 7
    server.answer = rated
    code, found = asked(*FILES)
    assert code == 0 and found["judging"]["calls"] == 1 and len(lines("t_single.jsonl")) == 8
    # one game of a pair alone is no comparison
    server.answer = lambda r: busy if re.search("Shorter.*old.*new", r.content) else paired(r)
    code, found = asked(*FILES, "--mode", "pairwise")
    assert code == 1 and len(lines("t_pair.jsonl")) == 3


def test_templates_of_ones_own(server, asked):
    text = "parser: mt_bench_single\n---\n=== user ===\nGrade {prompt} {response} %s\n"
    Path("plain.txt").write_text(text % "")
    Path("known.txt").write_text(text % "{reference}")
    code, _ = asked(*FILES, "--template", "plain.txt", "--reference-template", "known.txt")
    names = {r["question_id"]: r["judge"][1].split("@")[0] for r in lines("t_single.jsonl")}
    assert code == 0 and names == {"81": "plain", "111": "known"}
    code, said = asked(*FILES, "--mode", "pairwise", "--template", "plain.txt")
    assert code == 2 and "Give one that compares two responses" in said


def test_missing_answers_and_references_are_told(server, asked):
    code, said = asked(*FILES[:4])
    assert code == 2 and "No reference answer to each turn of the questions 111" in said
    write("model_answer/third.jsonl", [{"question_id": 81, "model_id": "third",
                                        "choices": [{"turns": ["third points: 5"]}]}])  # fmt: skip
    _, found = asked(*FILES)
    left_out = found["judging"]["left_out"]
    assert left_out == ["3 turns have no answer of third, and are left out."]
    assert {"third": 3} == {
        line["model"]: line["missing"] for line in found["single"]["models"] if line["missing"]
    }


def test_options_that_do_not_go_together(server, asked):
    Path("f.py").write_text("def half(comparisons):\n    return [0.5 for _ in comparisons]\n")
    for words, message in (
        (FILES[:2], "A judge needs --questions and --answers"),
        ((*FILES, "--ratings", "x"), "hold verdicts already"),
        ((*FILES, "--mode", "both", "--template", "x"), "it grades or compares"),
        ((*FILES, "--baseline", "old"), "--baseline: it is the opponent in pairs"),
        ((*FILES, "--mode", "pairwise", "--baseline", "odl"), "Did you mean 'old'"),
    ):
        code, said = asked(*words)
        assert code == 2 and message in said, said
    assert "one judge's replies" in asked(*FILES, judge=("--annotator", "f:half"))[1]
    assert "--answers: it is for a judge" in asked("--answers", "model_answer", judge=())[1]
    assert not server.requests
