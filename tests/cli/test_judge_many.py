"""`luce judge` with three sides or more, and with several judges."""

import json
import re
import shutil
import sys
from functools import partial
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "annotate" / "judge"))

from judge_server import Answer, JudgeServer, by_points, chat  # noqa: E402

from luce.cli.main import run  # noqa: E402
from luce.recipe.eval_win_rate import win_rates  # noqa: E402

POINTS = {"a": (4, 5, 1, 7), "b": (3, 2, 6, 0), "c": (3, 9, 5, 1)}


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch):
    fewer = partial(win_rates, resamples=100, refits=0)
    monkeypatch.setattr("luce.recipe.judge.win_rates", fewer)


@pytest.fixture
def sides(tmp_path, monkeypatch):
    """Three files of responses to the same prompts, each with a number of points."""
    monkeypatch.chdir(tmp_path)
    for name, numbers in POINTS.items():
        rows = [
            {"prompt": f"question {i}", "response": f"points: {n} {name}"}
            for i, n in enumerate(numbers)
        ]
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [f"{name}.jsonl" for name in POINTS]


@pytest.fixture
def server():
    running = JudgeServer()
    yield running
    running.stop()


@pytest.fixture
def answered(capsys):
    def ask(*words):
        code = run([*words, "--json"])
        said = capsys.readouterr()
        assert code in (0, 1), said.err
        return json.loads(said.out)

    return ask


@pytest.fixture
def refused(capsys):
    def ask(*words):
        assert run([*words]) == 2
        return capsys.readouterr().err

    return ask


def verdicts(path="verdicts.jsonl"):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def share(one, other):
    """Of the prompts on which one has more points than the other, ties half."""
    pairs = list(zip(POINTS[one], POINTS[other], strict=True))
    return sum(1.0 if x > y else 0.5 if x == y else 0.0 for x, y in pairs) / len(pairs)


# many sides -----------------------------------------------------------------------------------


def test_all_pairs_meet_once_and_the_matrix_is_that_of_the_verdicts(sides, server, answered):
    asked = ["judge", *sides, "--model", "t", "--base-url", server.url]
    found = answered(*asked)
    rows = verdicts()
    assert len(rows) == 3 * 4 * 2 == len(server.requests) == found["calls"]
    assert {(row["model_a"], row["model_b"]) for row in rows} == {
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    }
    matrix = found["result"]["matrix"]
    for cell in matrix["cells"]:
        wanted = share(cell["model"], cell["against"])
        assert cell["win_rate"]["value"] == pytest.approx(wanted), cell
        assert cell["win_rate"]["low"] <= wanted <= cell["win_rate"]["high"]
    # Bradley-Terry: the expected wins of each are those it has
    strengths = {item["name"]: item["strength"]["value"] for item in matrix["strengths"]["items"]}
    for one in POINTS:
        expected = sum(
            strengths[one] / (strengths[one] + strengths[other]) for other in POINTS if other != one
        )
        wanted = sum(share(one, other) for other in POINTS if other != one)
        assert expected == pytest.approx(wanted, abs=1e-3)
    fewer = ("--resamples", "100", "--refits", "0")
    again = answered("eval", "win-rate", "--verdicts", "verdicts.jsonl", *fewer)
    assert again["matrix"] == matrix
    assert answered(*asked)["calls"] == 0


def test_ids_name_comparisons_and_stay_the_same(sides, server, answered):
    asked = ["judge", *sides, "--model", "t", "--base-url", server.url]
    answered(*asked)
    rows = verdicts()
    ids = [row["id"] for row in rows]
    assert len(set(ids)) == 12 and all(ids.count(id) == 2 for id in ids)
    for id in set(ids):
        both = [row for row in rows if row["id"] == id]
        assert {row["order"] for row in both} == {"ab", "ba"}
        assert both[0]["response_a"] == both[1]["response_a"]
    answered("judge", "a.jsonl", "c.jsonl", "--model", "t", "--base-url", server.url)
    assert {row["id"] for row in verdicts()} == {row["id"] for row in rows if "ac" == pair(row)}


def pair(row):
    return row["model_a"] + row["model_b"]


def test_responses_that_stand_twice_have_two_ids(sides, server, answered):
    for name in "de":
        row = json.dumps({"prompt": "q", "response": f"points: 1 {name}"}) + "\n"
        Path(f"{name}.jsonl").write_text(row * 2)
    answered("judge", "d.jsonl", "e.jsonl", "--model", "t", "--base-url", server.url)
    ids = [row["id"] for row in verdicts()]
    assert len(ids) == 4 and len(set(ids)) == 2 and len(server.requests) == 2


def test_each_against_the_baseline(sides, server, answered):
    asked = ["judge", *sides, "--model", "t", "--base-url", server.url, "--baseline", "b"]
    found = answered(*asked)["result"]
    assert {pair(row) for row in verdicts()} == {"ab", "cb"}
    rates = {rate["model"]: rate["win_rate"] for rate in found["win_rates"]}
    assert found["baseline"] == "b" and rates == {"a": share("a", "b"), "c": share("c", "b")}
    assert found["matrix"]["models"] and len(server.requests) == 16


def test_a_dry_run_of_all_pairs(sides, server, capsys):
    asked = ["judge", *sides, "--model", "t", "--base-url", server.url, "--dry-run"]
    assert run(asked) == 0
    assert "24 verdicts: 24 calls to make" in capsys.readouterr().out
    Path("half.py").write_text("def half(comparisons):\n    return [0.5 for _ in comparisons]\n")
    assert run(["judge", *sides, "--annotator", "half:half", "--dry-run"]) == 0
    assert capsys.readouterr().out == "no calls, no cost\n" and not server.requests


def test_models_answer_once_and_their_responses_are_kept(sides, tiny_model_dir, answered):
    Path("prompts.jsonl").write_text('{"prompt": "say it"}\n{"prompt": "again"}\n')
    Path("longer.py").write_text(
        "def longer(comparisons):\n    return [float(len(c.a) > len(c.b)) for c in comparisons]\n"
    )
    Path("d.jsonl").write_text('{"prompt": "say it", "response": ""}\n')
    words = ["judge", str(tiny_model_dir), str(tiny_model_dir), "d.jsonl", "--prompts"]
    words += ["prompts.jsonl", "--names", "one", "two", "d", "--max-new-tokens", "5"]
    answered(*words, "--annotator", "longer:longer", "--save-responses", "kept")
    kept = [json.loads(x) for x in Path("kept/one.jsonl").read_text().splitlines()]
    assert [row["prompt"] for row in kept] == ["say it", "again"]
    assert sorted(p.name for p in Path("kept").iterdir()) == ["one.jsonl", "two.jsonl"]
    rows = verdicts()
    assert {row["response_a"] for row in rows if row["model_a"] == "one"} == {
        row["response"] for row in kept
    }
    shutil.copytree(tiny_model_dir, "runs/new/model")
    asked = ["judge", "runs/new/model", "kept/one.jsonl", "--prompts", "prompts.jsonl"]
    answered(*asked, "--max-new-tokens", "5", "--annotator", "longer:longer")
    assert {row["model_a"] for row in verdicts()} == {"new"}
    answered("judge", "kept/one.jsonl", "d.jsonl", "--annotator", "longer:longer")
    assert [row["response_a"] for row in verdicts()] == [kept[0]["response"]]


def test_a_pair_without_a_valid_verdict_is_told_and_in_no_table(sides, server, answered):
    server.answer = lambda request: (
        chat("no idea") if re.search("points: [0-9] c", request.content) else by_points(request)
    )
    found = answered("judge", *sides, "--model", "t", "--base-url", server.url)
    assert found["notes"][:2] == [
        f"{name} against c: none of 8 verdicts is valid; they are in no table." for name in "ab"
    ]
    assert found["result"]["models"] == ["a", "b"] and len(verdicts()) == 24
    assert found["invalid"] == {"t": {"unparsed": 16}}


def test_a_side_against_itself_is_a_half(sides, server, answered):
    found = answered("judge", "a.jsonl", "a.jsonl", "--model", "t", "--base-url", server.url)
    assert found["result"]["win_rates"][0]["win_rate"] == 0.5 and not server.requests


def test_sides_that_cannot_be_told_apart_or_are_not_there(sides, server, refused):
    judge = ["--model", "t", "--base-url", server.url]
    assert "Name a second one" in refused("judge", "a.jsonl", *judge)
    assert "Two sides are called 'a'" in refused("judge", *sides, "a.jsonl", *judge)
    Path("other").mkdir()
    Path("b.jsonl").rename("other/a.jsonl")
    assert "Two sides are called 'a'" in refused("judge", "a.jsonl", "other/a.jsonl", *judge)
    Path("other/a.jsonl").rename("b.jsonl")
    assert "--names: 2 for 3 sides" in refused("judge", *sides, *judge, "--names", "x", "y")
    assert "No side is the baseline 'd'" in refused("judge", *sides, *judge, "--baseline", "d")
    assert "Give one judge" in refused("judge", *sides, *judge, "--annotator", "m:f")
    assert "of the model of --reward" in refused("judge", *sides, *judge, "--kind", "policy")
    assert not server.requests


# several judges -------------------------------------------------------------------------------


def jury_file(*entries):
    Path("jury.yaml").write_text("".join(f"- {json.dumps(entry)}\n" for entry in entries))
    return ["--jury", "jury.yaml"]


def two_minds(request):
    """The one goes by points, the other always names what stands first."""
    return by_points(request) if request.payload["model"] == "fair" else chat("Verdict: [[A]]")


def test_a_jury_is_the_mean_of_its_members_whose_verdicts_are_kept(sides, server, answered):
    server.answer = two_minds
    Path("mine.py").write_text("def half(comparisons):\n    return [0.5 for _ in comparisons]\n")
    jury = jury_file(
        {"model": "fair", "base_url": server.url},
        {"model": "first", "base_url": server.url},
        {"annotator": "mine:half", "name": "coin"},
    )
    found = answered("judge", *sides[:2], *jury)
    rows = verdicts()
    assert len(rows) == 8 and len(server.requests) == 16
    for row in rows:
        said = {name: each["preference"] for name, each in row["members"].items()}
        assert said["first"] == (1.0 if row["order"] == "ab" else 0.0) and said["coin"] == 0.5
        assert said["fair"] == (0.0 if row["prompt"] == "question 2" else 1.0)
        assert row["preference"] == pytest.approx(sum(said.values()) / 3)
    # both orders together: fair's .75 and two halves
    rate = found["result"]["win_rates"][0]
    assert rate["win_rate"] == pytest.approx((0.75 + 0.5 + 0.5) / 3)


def test_members_that_fail_are_left_out_and_counted(sides, server, answered, capsys):
    server.answer = lambda request: (
        chat("no idea")
        if request.payload["model"] == "dumb" and "question 1" in request.content
        else by_points(request)
    )
    jury = jury_file(*({"model": name, "base_url": server.url} for name in ("fair", "dumb")))
    found = answered("judge", *sides[:2], *jury)
    assert found["invalid"] == {"fair": {}, "dumb": {"unparsed": 2}} and found["complete"]
    bad = [row for row in verdicts() if row["members"]["dumb"]["preference"] is None]
    assert len(bad) == 2 and all(row["preference"] == 1.0 for row in bad)
    assert bad[0]["members"]["dumb"] == {"preference": None, "reason": "unparsed"}
    server.answer = lambda request: chat("no idea")
    found = answered("judge", *sides[:2], *jury, "--store", "other.sqlite")
    assert found["result"] is None and found["complete"]
    assert {row["reason"] for row in verdicts()} == {"unparsed"}


def test_a_jury_waits_for_all_its_members(sides, server, answered):
    server.answer = lambda request: (
        Answer("busy", status=429, headers={"Retry-After": "9999"})
        if request.payload["model"] == "slow" and "question 2" in request.content
        else by_points(request)
    )
    jury = jury_file(*({"model": name, "base_url": server.url} for name in ("fair", "slow")))
    found = answered("judge", *sides[:2], *jury)
    assert not found["complete"] and "slow: 2 left without an answer" in found["left"][-1]
    assert {row["prompt"] for row in verdicts()} == {f"question {i}" for i in (0, 1, 3)}
    server.answer = by_points
    assert answered("judge", *sides[:2], *jury)["calls"] == 2 and len(verdicts()) == 8


def test_a_jury_has_one_purse(sides, server, answered, capsys):
    priced = {"base_url": server.url, "price_in": 100.0, "price_out": 100.0}
    jury = jury_file(*({"model": name, **priced} for name in ("one", "two")))
    assert run(["judge", *sides[:2], *jury, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "16 verdicts: 16 calls to make" in shown
    most = float(re.search(r"at most \$([0-9.]+)", shown)[1])
    # 110 tokens a call at 100 USD a million; each of them could pay all its calls out of this
    purse = most / 16 + 8 * 0.011 + 0.03
    found = answered("judge", *sides[:2], *jury, "--max-cost", str(purse), "--concurrency", "1")
    assert found["cost"] == pytest.approx(found["calls"] * 0.011) and found["cost"] < purse
    assert 8 < found["calls"] < 14 and not found["complete"] and "max_cost" in found["left"][-1]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "judge 1: give one of model, local, reward, annotator"),
        ({"model": "m", "local": "x"}, "give one of"),
        ({"model": "m", "templat": "x"}, "Did you mean 'template'"),
        ({"model": "m", "template": 3}, "template: text is expected, found 3"),
        ({"model": "m", "price_in": 1.0}, "price_in and price_out: give both"),
        ({"reward": "m", "kind": "rewrad"}, "kind: Did you mean 'reward'"),
        ({"annotator": "nowhere:f"}, "annotator 'nowhere:f'"),
    ],
)
def test_a_wrong_jury_is_named(sides, refused, entry, message):
    assert message in refused("judge", *sides, *jury_file(entry))


def test_more_that_a_jury_cannot_be(sides, server, refused):
    twice = [{"model": "m", "base_url": server.url}] * 2
    assert "'m' sits there already" in refused("judge", *sides, *jury_file(*twice))
    jury = jury_file(twice[0])
    assert "the file of the jury says it" in refused(
        "judge", *sides, *jury, "--base-url", server.url
    )
    Path("jury.yaml").write_text("model: m\n")
    assert "a list of judges is expected" in refused("judge", *sides, *jury)
    assert "cannot be read" in refused("judge", *sides, "--jury", "none.yaml")
    asked = ["judge", *sides, "--model", "m", "--base-url", server.url]
    assert "--price-in and --price-out" in refused(*asked, "--price-in", "1")
