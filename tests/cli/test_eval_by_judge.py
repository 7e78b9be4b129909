"""`luce eval reward-bench` by a judge."""

import json
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "annotate" / "judge"))

from judge_server import Answer, JudgeServer, by_points, chat  # noqa: E402

from luce.cli.main import run  # noqa: E402


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    running = JudgeServer()
    yield running
    running.stop()


@pytest.fixture
def asked(server, capsys):
    """Runs `luce eval reward-bench` by the server's judge: exit code, and JSON or the error."""

    def ask(*words, judge=("--judge", "t")):
        where = ("--base-url", server.url) if judge[0] == "--judge" else ()
        code = run(["eval", "reward-bench", *judge, *where, "--resamples", "100", "--json", *words])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out.startswith("{") else said.out + said.err

    return ask


def bench(pairs, subset="hep-go"):
    """Rows with so many points of the chosen and the rejected response."""
    rows = [
        {"subset": subset, "id": i, "prompt": f"Q{i}", "chosen": f"points: {x} c",
         "rejected": f"points: {y} r"}
        for i, (x, y) in enumerate(pairs)
    ]  # fmt: skip
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["--data", "rows.jsonl"]


def test_a_win_is_1_a_tie_a_half_and_a_loss_0_in_both_orders(server, asked):
    code, found = asked(*bench([(2, 1), (3, 1), (1, 1), (0, 1)]), "--save-scores", "s.jsonl")
    part = found["subsets"]["hep-go"]
    assert code == 0 and part["value"] == pytest.approx((1 + 1 + 0.5 + 0) / 4)
    assert (part["n"], part["ties"], part["invalid"]) == (4, 1, 0)
    assert len(server.requests) == 8 and found["judging"]["calls"] == 8
    # what is stored is not asked again
    assert asked(*bench([(2, 1), (3, 1), (1, 1), (0, 1)]))[1]["judging"]["calls"] == 0


def test_saved_outcomes_give_the_same_accuracies(server, asked, capsys):
    server.answer = lambda r: (
        chat("hm") if re.search("points: [0-9] ([cr])", r.content)[1] == "r" else by_points(r)
    )
    _, found = asked(*bench([(2, 1), (0, 1)]), "--save-scores", "s.jsonl")
    assert run(["eval", "reward-bench", "--scores", "s.jsonl", "--resamples", "100", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["subsets"] == found["subsets"]
    # one order each: a right and a wrong one, and had the others all been wrong, or right
    part = found["subsets"]["hep-go"]
    assert (part["value"], part["if_invalid_wrong"], part["if_invalid_right"]) == (0.5, 0.25, 0.75)
    assert found["judging"]["invalid"] == {"t": {"unparsed": 2}}


def test_a_judge_that_names_what_stands_first_has_a_half_and_is_told_so(server, asked, capsys):
    server.answer = lambda request: chat("Verdict: [[A]]")
    _, found = asked(*bench([(2, 1)] * 3))
    part = found["subsets"]["hep-go"]
    assert part["value"] == 0.5 and part["ties"] == 3
    assert found["judging"]["position"]["flip_rate"]["value"] == 1.0
    words = ["eval", "reward-bench", *bench([(2, 1)] * 3), "--judge", "t", "--base-url", server.url]
    assert run(words) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("verdicts of t\n") and "order shown:" in shown


def test_a_judge_that_says_nothing_scores_nothing(server, asked):
    server.answer = lambda request: chat("")
    code, said = asked(*bench([(2, 1)]))
    assert code == 2 and "No pair has a verdict. 4 calls. t: 2 verdicts invalid (empty 2)." in said


def test_what_is_not_answered_yet_is_asked_by_the_next_call(server, asked):
    server.answer = lambda r: (
        Answer("", status=503, headers={"Retry-After": "999"})
        if "Q1" in r.content
        else by_points(r)
    )
    code, found = asked(*bench([(2, 1), (2, 1)]))
    part = found["subsets"]["hep-go"]
    assert code == 1 and (part["n"], part["invalid"], part["value"]) == (1, 1, 1.0)
    assert (part["if_invalid_wrong"], part["if_invalid_right"]) == (0.5, 1.0)
    assert not found["judging"]["complete"]
    server.answer = by_points
    code, found = asked(*bench([(2, 1), (2, 1)]))
    assert code == 0 and found["judging"]["calls"] == 2 and found["subsets"]["hep-go"]["n"] == 2


def test_a_function_and_a_jury_judge_in_both_orders(server, asked):
    Path("firsts.py").write_text("def first(comparisons):\n    return [1.0 for _ in comparisons]\n")
    _, found = asked(*bench([(2, 1)] * 2), judge=("--annotator", "firsts:first"))
    assert found["subsets"]["hep-go"]["value"] == 0.5 and not server.requests
    jury = [{"model": "t", "base_url": server.url}, {"annotator": "firsts:first"}]
    Path("jury.yaml").write_text(json.dumps(jury))
    _, found = asked(*bench([(2, 1), (1, 2)]), judge=("--jury", "jury.yaml"))
    # the mean of the two is ½ in one order, and as the server says in the other
    assert found["subsets"]["hep-go"]["value"] == pytest.approx((0.75 + 0.25) / 2)


def test_a_chat_model_of_this_process_is_asked(server, asked, tiny_model_dir):
    Path("small.txt").write_text(
        "parser: final_label\nmax_tokens: 3\n---\n=== user ===\n"
        "{prompt} {response_a} {response_b}\n"
    )
    words = (*bench([(2, 1), (3, 1)]), "--template", "small.txt")
    code, said = asked(*words, judge=("--local", str(tiny_model_dir)))
    # a random model says nothing that can be read: asked once more each, counted, never scored
    assert code == 2 and "No pair has a verdict. 8 calls" in said and "4 verdicts invalid" in said
    assert not server.requests


def test_a_dry_run_prices_both_orders(server, asked):
    prices = ["--price-in", "1", "--price-out", "2", "--dry-run"]
    code, said = asked(*bench([(2, 1)] * 3), *prices)
    assert code == 0 and "6 verdicts: 6 calls to make" in said and "at most $" in said
    assert not server.requests


# version 2 ------------------------------------------------------------------------------------


def lists(rows):
    """Rows of version 2: (subset, id, points of the correct ones, points of the others)."""
    found = [
        {"subset": subset, "id": id, "prompt": f"Q{id}",
         "chosen": [f"points: {n} c{i}" for i, n in enumerate(right)],
         "rejected": [f"points: {n} r{i}" for i, n in enumerate(wrong)]}
        for subset, id, right, wrong in rows
    ]  # fmt: skip
    Path("lists.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
    return ["--data", "lists.jsonl", "--version", "2"]


def rated(request):
    return chat(f"Rating: [[{re.search(r'points: ([0-9]+)', request.content)[1]}]]")


def test_version_2_takes_the_best_rated(server, asked):
    server.answer = rated
    rows = [
        ("Math", "1", [9], [3, 4, 5]),
        ("Math", "2", [7], [7, 1, 1]),
        ("Math", "3", [1], [2, 3, 4]),
    ]
    code, found = asked(*lists(rows), "--save-scores", "s.jsonl")
    assert code == 0 and found["subsets"]["Math"]["value"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert len(server.requests) == 12 and found["scores"] == "ratings by t"
    saved = [json.loads(line) for line in Path("s.jsonl").read_text().splitlines()]
    assert saved[1]["scores"] == [7, 7, 1, 1] and saved[1]["num_correct"] == 1


def test_version_2_with_ratings_that_are_missing(server, asked):
    server.answer = lambda r: chat("none") if "Q2" in r.content and "r1" in r.content else rated(r)
    rows = [("Math", "1", [9], [3, 4, 5]), ("Math", "2", [7], [7, 1, 1])]
    code, found = asked(*lists(rows))
    assert (
        code == 0
        and found["subsets"]["Math"] == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 1}
        or found
    )
    assert found["invalid"] == {"Math": 1} and found["judging"]["invalid"] == {"t": {"unparsed": 1}}


def test_what_cannot_judge_version_2_is_told_why(server, asked):
    rows = lists([("Math", "1", [9], [3, 4, 5])])
    Path("firsts.py").write_text("def first(comparisons):\n    return [1.0 for _ in comparisons]\n")
    code, said = asked(*rows, judge=("--annotator", "firsts:first"))
    assert code == 2 and "rated one by one" in said and "--judge or --local" in said
    code, said = asked(*rows, "--template", "pairwise")
    assert code == 2 and "Give one that grades one response" in said


def test_options_that_do_not_go_together(server, asked):
    data = bench([(2, 1)])
    for words, message in (
        ([*data, "--kind", "reward"], "--kind: it says how the model of --model grades"),
        ([*data, "--model", "m"], "with --model or with one judge"),
        ([], "Give --data FILE"),
        (["--scores", "s", *data], "with --model or with one judge"),
    ):
        code, said = asked(*words)
        assert code == 2 and message in said
    assert run(["eval", "reward-bench", "--scores", "s.jsonl", "--max-cost", "1"]) == 2
    assert not server.requests
