"""`luce eval alpaca-eval` by judging: annotations in its own format, then the same numbers."""

import json
import math
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "annotate" / "judge"))

from judge_server import Answer, JudgeServer, chat  # noqa: E402

from luce.cli.main import run  # noqa: E402

OURS, BASE = (5, 2, 8, 4, 3, 9), (3, 4, 1, 4, 2, 7)


def p_first(request):
    """P(the one shown first) = its share of the points."""
    first, second = (int(n) for n in re.findall(r"points: ([0-9]+)", request.content))
    return first / (first + second)


def by_logprobs(request):
    p = p_first(request)
    answer = chat("m" if p > 0.5 else "M", (100, 1))
    top = [{"token": t, "logprob": math.log(q)} for t, q in (("m", p), ("M", 1 - p))]
    answer.body["choices"][0]["logprobs"] = {"content": [{"token": "m", "top_logprobs": top}]}
    return answer


def by_label(request):
    return chat("m" if p_first(request) > 0.5 else "M", (100, 1))


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, points in (("ours", OURS), ("base", BASE)):
        rows = [
            {"instruction": f"Do {i}", "output": f"points: {n} {name}", "generator": name}
            for i, n in enumerate(points)
        ]
        Path(f"{name}.json").write_text(json.dumps(rows))
    hard = "".join(f"{i},{0.3 * i - 1}\n" for i in range(len(BASE)))
    Path("hard.csv").write_text("index,instruction_difficulty\n" + hard)
    running = JudgeServer()
    running.answer = by_logprobs
    yield running
    running.stop()


FILES = ("--outputs", "ours.json", "--against", "base.json", "--difficulty", "hard.csv")


@pytest.fixture
def asked(server, capsys):
    def ask(*words, judge=("--judge", "t")):
        where = ("--base-url", server.url) if "--judge" in judge else ()
        given = ["alpaca-eval", *judge, *where, "--refits", "0", "--penalty", "1", "--json"]
        code = run(["eval", *given, *words])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out.startswith("{") else said.out + said.err

    return ask


def annotations(path="annotations.json"):
    return json.loads(Path(path).read_text())


def test_preferences_are_the_probabilities_of_the_labels(server, asked, capsys):
    code, found = asked(*FILES)
    rows = annotations()
    wanted = [x / (x + y) for x, y in zip(OURS, BASE, strict=True)]
    assert code == 0 and len(server.requests) == 12
    assert all(request.payload["logprobs"] for request in server.requests)
    assert [row["preference"] - 1 for row in rows] == pytest.approx(wanted)
    first = rows[0]
    assert (first["generator_1"], first["generator_2"]) == ("base", "ours")
    assert (first["output_1"], first["output_2"]) == ("points: 3 base", "points: 5 ours")
    assert first["instruction"] == "Do 0" and first["raw_completion"] == {"ab": "M", "ba": "m"}
    (line,) = found["models"]
    assert line["model"] == "ours" and line["win_rate"] == pytest.approx(100 * sum(wanted) / 6)
    assert (line["n_wins"], line["n_draws"], line["n_missing"]) == (4, 1, 0)
    # the same numbers from the file
    given = ["--annotations", "annotations.json", "--difficulty", "hard.csv", "--penalty", "1"]
    assert run(["eval", "alpaca-eval", *given, "--refits", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"] == found["models"]
    assert found["judging"]["files"] == ["annotations.json"] and not found["judging"]["left_out"]
    assert asked(*FILES)[1]["judging"]["calls"] == 0


def test_labels_count_where_there_are_no_log_probabilities(server, asked):
    server.answer = by_label
    _, found = asked(*FILES, "--price-in", "1", "--price-out", "10")
    # 4 against 4: P is ½, which this judge calls M each time, so that the order decides
    assert [row["preference"] for row in annotations()] == [2.0, 1.0, 2.0, 1.5, 2.0, 2.0]
    assert "12 of 12 verdicts are labels" in found["judging"]["left_out"][0]
    assert found["judging"]["cost"] == pytest.approx(12 * (100 + 10) / 1e6)
    assert annotations()[0]["price_per_example"] == pytest.approx(2 * 110 / 1e6)


def test_a_ranking_template_and_verdicts_that_are_missing(server, asked):
    ranks = '[{"model": "model_1", "rank": %d}, {"model": "model_2", "rank": %d}]'
    server.answer = lambda r: chat(
        "I cannot say." if "Do 1" in r.content else ranks % ((1, 2) if p_first(r) > 0.5 else (2, 1))
    )
    code, found = asked(*FILES, "--template", "alpaca_eval_ranking")
    (line,) = found["models"]
    assert code == 0 and (line["n_total"], line["n_missing"]) == (5, 1)
    assert annotations()[1]["preference"] is None
    assert line["win_rate_if_missing_lost"] == pytest.approx(100 * 4.5 / 6)
    assert line["win_rate_if_missing_won"] == pytest.approx(100 * 5.5 / 6)
    assert found["judging"]["invalid"] == {"t": {"refusal": 2}}


def test_a_verdict_in_one_order_counts_alone_and_the_other_bounds_it(server, asked, capsys):
    # of instruction 1 only the order with the baseline first is answered: 2 of 6 points
    server.answer = lambda r: (
        chat("hm", (9, 1)) if re.search("Do 1.*ours.*base", r.content) else by_logprobs(r)
    )
    code, found = asked(*FILES)
    (line,) = found["models"]
    p = [x / (x + y) for x, y in zip(OURS, BASE, strict=True)]
    assert code == 0 and annotations()[1]["preference"] == pytest.approx(1 + p[1])
    assert annotations()[1]["preference_by_order"] == {"ab": pytest.approx(1 + p[1]), "ba": None}
    assert (line["n_missing"], line["n_partial"]) == (0, 1)
    assert line["win_rate"] == pytest.approx(100 * sum(p) / 6)
    rest = sum(p) - p[1]
    assert line["win_rate_if_missing_lost"] == pytest.approx(100 * (rest + p[1] / 2) / 6)
    assert line["win_rate_if_missing_won"] == pytest.approx(100 * (rest + p[1] / 2 + 0.5) / 6)
    words = ["eval", "alpaca-eval", "--annotations", "annotations.json", "--difficulty", "hard.csv"]
    assert run([*words, "--penalty", "1", "--refits", "0"]) == 0
    assert "0 without a verdict, 1 with one in one order only" in capsys.readouterr().out


def test_what_is_not_answered_is_left_for_the_next_call(server, asked):
    server.answer = lambda r: (
        Answer("", status=429, headers={"Retry-After": "999"})
        if "Do 3" in r.content
        else by_logprobs(r)
    )
    code, found = asked(*FILES)
    assert code == 1 and [row["index"] for row in annotations()] == [0, 1, 2, 4, 5]
    server.answer = by_logprobs
    code, found = asked(*FILES)
    assert code == 0 and found["judging"]["calls"] == 2 and len(annotations()) == 6
    assert max(server.seen.values()) <= 2
    server.answer = lambda r: Answer("", status=429, headers={"Retry-After": "999"})
    code, said = asked(*FILES, "--store", "new.sqlite")
    assert code == 2 and "No annotation has a verdict" in said and "left without an answer" in said


def test_a_dry_run_and_a_wrong_difficulty_ask_nothing(server, asked):
    code, said = asked(*FILES, "--dry-run", "--price-in", "1", "--price-out", "1")
    assert code == 0 and "12 verdicts: 12 calls to make" in said
    assert asked(*FILES[:4], "--difficulty", "none.csv")[0] == 2
    assert not server.requests and not Path("annotations.json").exists()


def test_outputs_that_do_not_meet_are_told(server, asked):
    rows = json.loads(Path("ours.json").read_text())
    other = {"instruction": "Else", "output": "x", "generator": "ours"}
    Path("ours.json").write_text(json.dumps([*rows[::-1][:4], other]))
    _, found = asked(*FILES)
    assert found["judging"]["left_out"] == [
        "2 instructions of base.json have no output of ours, and are left out.",
        "1 outputs of ours answer none of base.json, and are left out.",
    ]
    # numbered by the baseline's rows, whatever the model's order
    assert [(row["index"], row["instruction"]) for row in annotations()] == [
        (i, f"Do {i}") for i in (2, 3, 4, 5)
    ]
    Path("ours.json").write_text(json.dumps([other]))
    assert "No output answers an instruction" in asked(*FILES)[1]
    Path("base.json").write_text(json.dumps([other, {**other, "generator": "two"}]))
    assert "base.json: generator: 'ours' and 'two'" in asked(*FILES)[1]


def test_equal_instructions_meet_in_order(server, asked):
    for name, points in (("ours", (1, 9)), ("base", (5, 5))):
        rows = [
            {"instruction": "Same", "output": f"points: {n}", "generator": name} for n in points
        ]
        Path(f"{name}.json").write_text(json.dumps(rows))
    asked(*FILES)
    assert [row["preference"] for row in annotations()] == pytest.approx([1 + 1 / 6, 1 + 9 / 14])


def test_a_function_annotates(server, asked):
    Path("texts.py").write_text("def a(comparisons):\n    return [0.25 for _ in comparisons]\n")
    _, found = asked(*FILES, judge=("--annotator", "texts:a"))
    # ¾ for the model where it stands second, ¼ where it stands first
    assert {row["preference"] for row in annotations()} == {1.5} and not server.requests


def test_options_that_do_not_go_together(server, asked):
    for words in (FILES[4:], FILES[:2] + FILES[4:], (*FILES, "--annotations", "a.json")):
        code, said = asked(*words)
        assert code == 2 and "Give --annotations, or --outputs and --against with one judge" in said
    assert asked(*FILES, judge=())[0] == 2 and not server.requests
