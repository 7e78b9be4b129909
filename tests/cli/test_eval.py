"""`luce eval`: the figures that are published, what is printed, and how it ends."""

import csv
import gzip
import json
import subprocess
import sys

import pytest

from luce.cli.main import run


@pytest.fixture
def lines(tmp_path):
    def save(name, rows):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return save


@pytest.fixture
def answered(capsys):
    """Runs a command line that must succeed and gives its JSON."""

    def ask(*words):
        assert run(["eval", *words, "--json"]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return ask


@pytest.fixture
def refused(capsys):
    """Runs a command line that must end with 2 and one line; gives the line."""

    def ask(*words):
        assert run(["eval", *words]) == 2
        said = capsys.readouterr()
        assert said.out == "" and said.err.startswith("luce: ") and said.err.count("\n") == 1
        return said.err

    return ask


# AlpacaEval 2 ---------------------------------------------------------------------------------


@pytest.fixture
def alpaca(real_data):
    """The command line on the real data, and what the leaderboard says."""
    files = {
        "--annotations": "lc_annotations.jsonl.gz",
        "--difficulty": "lc_instruction_difficulty.csv",
        "--gamed": "lc_df_gamed.csv",
    }
    words = [word for flag, name in files.items() for word in (flag, str(real_data(name)))]
    with open(real_data("lc_published.csv"), encoding="utf-8") as stream:
        published = {row["model"]: row for row in csv.DictReader(stream)}
    return ["alpaca-eval", *words], published


def test_alpaca_eval_gives_the_figures_of_the_leaderboard(alpaca, answered):
    words, published = alpaca
    found = answered(*words, "--refits", "0")
    assert {row["model"] for row in found["models"]} == set(published) and found["gamed"]
    gaps = []
    for row in found["models"]:
        wanted = published[row["model"]]
        for name in ("win_rate", "standard_error", "discrete_win_rate"):
            assert row[name] == pytest.approx(float(wanted[name]), abs=1e-6), row["model"]
        for name in ("n_wins", "n_wins_base", "n_draws", "n_total"):
            assert row[name] == int(wanted[name]), row["model"]
        assert row["penalty_cross_validated"]
        gaps.append(
            abs(row["length_controlled_winrate"] - float(wanted["length_controlled_winrate"]))
        )
    assert sum(gaps) / len(gaps) <= 0.06 and max(gaps) <= 0.20


def test_alpaca_eval_is_nearer_still_with_the_published_penalties(alpaca, answered, real_data):
    words, published = alpaca
    table = [str(real_data("lc_published.csv")), "C_at_publication"]
    found = answered(*words, "--refits", "0", "--penalty-from", *table)
    given = [row for row in found["models"] if published[row["model"]]["C_at_publication"]]
    assert len(given) == 15
    for row in given:
        wanted = float(published[row["model"]]["length_controlled_winrate"])
        assert row["length_controlled_winrate"] == pytest.approx(wanted, abs=0.03), row["model"]
        assert not row["penalty_cross_validated"]
    others = [row for row in found["models"] if row not in given]
    assert others and all(row["penalty_cross_validated"] for row in others)


def test_alpaca_eval_of_the_baseline_is_exactly_50(alpaca, answered, lines):
    words, _ = alpaca
    with gzip.open(words[2], "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    first = [row for row in rows if row["model"] == rows[0]["model"]]
    own = [row | {"model": "baseline", "len_2": row["len_1"], "preference": 1.5} for row in first]
    some = lines("some.jsonl", [*first, *own])
    found = answered(*words[:1], "--annotations", some, *words[3:], "--refits", "0")
    (row,) = (row for row in found["models"] if row["model"] == "baseline")
    assert row["length_controlled_winrate"] == row["win_rate"] == 50.0
    assert (row["n_draws"], row["lc_standard_error"], row["penalty"]) == (805, 0.0, None)
    assert len(found["models"]) == 2


def test_alpaca_eval_with_both_standard_errors_for_people(alpaca, lines, capsys):
    words, _ = alpaca
    with gzip.open(words[2], "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    some = [row for row in rows if row["model"] == "claude-2.1"]
    words = ["alpaca-eval", "--annotations", lines("a.jsonl", some), *words[3:]]
    assert run(["eval", *words, "--penalty", "2.78", "--refits", "60"]) == 0
    head, row, *_ = capsys.readouterr().out.splitlines()
    assert "SE (published)" in head
    assert row.split()[0] == "claude-2.1" and row.split()[1].startswith("25.2")
    se, published = float(row.split()[5]), float(row.split()[6].strip("()"))
    assert se > 1.3 * published


def annotation(model, index, **more):
    return {
        "model": model,
        "index": index,
        "len_1": 9,
        "len_2": 5 + index,
        "preference": 1.25,
    } | more


def test_alpaca_eval_says_what_cannot_be_used(lines, refused, tmp_path):
    (tmp_path / "hard.csv").write_text("index,instruction_difficulty\n0,0.5\n1,-0.5\n")
    (tmp_path / "c.csv").write_text("model,C\nother,1.0\n")
    hard = ["--difficulty", str(tmp_path / "hard.csv")]
    one = lines("one.jsonl", [annotation("m", 0), annotation("m", 1)])
    base = ["alpaca-eval", *hard, "--annotations"]
    two = lines("two.jsonl", [annotation("m", 1)])
    assert f"{two}: index: m was judged on instruction 1 in {one} too." in refused(*base, one, two)
    bad = lines("bad.jsonl", [annotation("m", 0), annotation("m", 1, preference=7)])
    assert f"{bad}:2: preference: found 7. A preference is from 1" in refused(*base, bad)
    table = ["--penalty-from", str(tmp_path / "c.csv")]
    assert "no penalty of a model that has annotations" in refused(*base, one, *table, "C")
    assert "c.csv:2: D: there is no such field" in refused(*base, one, *table, "D")
    assert "Give one." in refused(*base, one, *table, "C", "--penalty", "1")
    assert "penalty is -1" in refused(*base, one, "--penalty=-1")
    assert "--refits" in refused(*base, one, "--refits=-1")
    assert "no such file" in refused(*base, str(tmp_path / "none.json"))
    assert "--difficulty" in refused("alpaca-eval", "--annotations", one)


# win rates ------------------------------------------------------------------------------------


def verdict(prompt, p, order="ab", **more):
    row = {"prompt": prompt, "model_a": "new", "model_b": "old", "preference": p, "order": order}
    return row | more


def test_win_rate_for_programs_and_for_people(lines, answered, capsys):
    rows = [
        verdict(i, p, order, length_a=5 + i, length_b=7)
        for i, (p, q) in enumerate([(1.0, 1.0), (1.0, 0.0), (0.0, None), (0.75, 0.75)])
        for p, order in ((p, "ab"), (q, "ba"))
    ]
    words = ["--verdicts", lines("v.jsonl", rows), "--resamples", "100", "--refits", "20"]
    found = answered("win-rate", *words)
    (rate,) = found["win_rates"]
    assert (rate["model"], rate["against"], rate["n"]) == ("new", "old", 4)
    assert rate["win_rate"] == pytest.approx((1 + 0.5 + 0 + 0.75) / 4)
    assert (rate["wins"], rate["ties"], rate["losses"]) == (2, 1, 1)
    assert (rate["verdicts"], rate["invalid"]) == (8, 1)
    assert rate["reasons"] == {"no reason given": 1}
    assert rate["win_rate_if_invalid_won"] == pytest.approx((1 + 0.5 + 0.5 + 0.75) / 4)
    assert found["position"]["flip_rate"]["value"] == pytest.approx(1 / 3)
    controlled = found["length_controlled"]["models"][0]
    assert controlled["length_controlled_standard_error"] > 0
    assert (found["length_unit"], found["matrix"]) == ("as given", None)
    assert found["length_controlled"]["refits"] == 20
    assert run(["eval", "win-rate", *words]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("against old  win rate") and "\norder shown:\n" in shown
    assert "\nlengths held equal (as given):\n" in shown


def test_win_rate_of_many_files_and_models(lines, answered, capsys):
    paths = [
        lines(f"{a}.jsonl", [verdict(i, float(i % k == 0), model_a=a) for i in range(8)])
        for a, k in (("good", 2), ("fair", 3), ("poor", 4))
    ]
    words = ["--resamples", "100", "--prior-sd", "2", "--verdicts", *paths]
    found = answered("win-rate", *words)
    assert found["baseline"] == "old"
    assert [rate["win_rate"] for rate in found["win_rates"]] == [0.5, 0.375, 0.25]
    assert found["matrix"]["strengths"]["prior_sd"] == 2.0
    assert found["matrix"]["models"][0] in ("good", "old") and len(found["matrix"]["cells"]) == 12
    assert run(["eval", "win-rate", *words]) == 0
    assert "Gaussian prior on log-strengths, sd 2 nats." in capsys.readouterr().out


def test_win_rate_says_what_cannot_be_used(lines, refused):
    path = lines("v.jsonl", [verdict(1, 1.0), verdict(2, "A")])
    assert f"{path}:2: preference: a finite number" in refused("win-rate", "--verdicts", path)
    path = lines("v.jsonl", [verdict(1, None, reason="refusal")])
    assert "none of 1 verdicts is valid" in refused("win-rate", "--verdicts", path)
    path = lines("v.jsonl", [verdict(1, 1.0, length_a=3, length_b=4),
                             verdict(1, 1.0, "ba", length_a=3, length_b=5)])  # fmt: skip
    assert f"{path}:2: length_a: the responses" in refused("win-rate", "--verdicts", path)
    path = lines("v.jsonl", [verdict(1, 1.0)])
    assert "--resamples" in refused("win-rate", "--verdicts", path, "--resamples", "0")
    assert "--prior-sd" in refused("win-rate", "--verdicts", path, "--prior-sd", "0")
    assert "--verdicts" in refused("win-rate")


# Arena-Hard, MT-Bench, judges -----------------------------------------------------------------


def test_arena_hard_on_its_published_battles(real_data, answered, capsys):
    path = str(real_data("arena_hard_battles.jsonl.gz"))
    found = answered("arena-hard", "--battles", path, "--refits", "40")
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    assert found["votes"] == len(rows) == 2136
    for line in found["models"]:
        own = [row["winner"] for row in rows if row["model_b"] == line["model"]]
        if line["model"] == found["baseline"]:
            assert line["win_rate"]["value"] == 0.5
            continue
        # against one baseline the maximum is the share of wins, a tie half of one
        share = sum(1.0 if w == "model_b" else 0.5 if w.startswith("tie") else 0.0 for w in own)
        assert line["win_rate"]["value"] == pytest.approx(share / len(own), abs=1e-6)
        assert line["win_rate"]["low"] < line["win_rate"]["value"] < line["win_rate"]["high"]


def test_arena_hard_from_judgments_with_style(lines, answered, refused):
    labels = ("A>B", "B>>A", "A=B", "A>>B")
    judged = [
        {"question_id": i, "model": "m", "games": [{"score": labels[i % 4]}, {"score": "A>B"}]}
        for i in range(8)
    ]
    judgments = lines("judgments.jsonl", judged)
    answers = [
        {"question_id": i, "model_id": m, "choices": [{"turns": ["x" * (3 + (i * k) % 7)]}]}
        for m, k in (("m", 3), ("base", 5)) for i in range(8)
    ]  # fmt: skip
    words = ["arena-hard", "--judgments", judgments, "--baseline", "base", "--refits", "0"]
    plain = answered(*words)
    # A is the baseline in the first game and m in the second: 2 × (0 + 3 + ½ + 0 of 1 + 3 + 1 + 3)
    # and 8 of 8
    assert plain["models"][0]["win_rate"]["value"] == pytest.approx((7 + 8) / (16 + 8), abs=1e-6)
    once = answered(*words, "--strong", "1")
    assert once["models"][0]["win_rate"]["value"] == pytest.approx((3 + 8) / (8 + 8), abs=1e-6)
    styled = answered(*words, "--style", "--answers", lines("answers.jsonl", answers))
    assert set(styled["style_effects"]) == {"length", "headers", "lists", "bold"}
    assert plain["style_effects"] is None
    assert "Give both, or neither" in refused(*words, "--style")
    assert "Give both, or neither" in refused(*words, "--answers", judgments)
    assert "Give --battles or --judgments" in refused("arena-hard")
    assert "Give --battles or --judgments" in refused(*words, "--battles", judgments)
    assert "baseline is not named" in refused("arena-hard", "--judgments", judgments)
    assert "battles hold strong" in refused("arena-hard", "--battles", judgments, "--strong", "3")


def test_mt_bench_in_both_modes(lines, answered, refused, capsys):
    rows = [{"question_id": i, "model": "m", "turn": t, "score": s}
            for i, t, s in ((1, 1, 8), (1, 2, 6), (2, 1, 3), (2, 2, -1))]  # fmt: skip
    pairs = [{"question_id": i, "model_1": "m", "model_2": "o", "g1_winner": a, "g2_winner": b}
             for i, a, b in ((1, "model_1", "model_1"), (2, "model_1", "tie"))]  # fmt: skip
    asked = [{"question_id": i, "category": c, "turns": ["?", "?"]}
             for i, c in ((1, "writing"), (2, "math"))]  # fmt: skip
    single = ["--ratings", lines("single.jsonl", rows)]
    both = ["--pairs", lines("pair.jsonl", pairs)]
    questions = ["--questions", lines("question.jsonl", asked)]
    found = answered("mt-bench", *single, *questions, *both, "--resamples", "100")
    (line,) = found["single"]["models"]
    assert line["score"]["value"] == pytest.approx(17 / 3) and line["missing"] == 1
    assert {k: v["value"] for k, v in line["by_category"].items()} == {"math": 3, "writing": 7}
    first = found["pairwise"]["models"][0]
    assert (first["model"], first["win"], first["tie"]) == ("m", 1, 1)
    assert answered("mt-bench", *single)["pairwise"] is None
    against = answered("mt-bench", *both, "--baseline", "o")
    assert against["single"] is None and len(against["pairwise"]["models"]) == 1
    assert run(["eval", "mt-bench", *single, *both]) == 0
    assert "\n\n2 questions, all against all" in capsys.readouterr().out
    answers = lines("answers.jsonl", [{"question_id": 1, "choices": [{"turns": ["a", "b"]}]}])
    refs = ["--references", answers]
    said = refused("mt-bench", *single, *questions, *refs)
    assert "question 2 (math) has 0 reference answers for 2 turns" in said
    assert "Give --ratings, --pairs, or both" in refused("mt-bench")
    assert "Give --questions too" in refused("mt-bench", *single, *refs)
    assert "--questions: they give the categories" in refused("mt-bench", *both, *questions)
    assert "--baseline: it is the opponent" in refused("mt-bench", *single, "--baseline", "o")


def test_judges_of_llmbar(real_data, answered, capsys):
    path = str(real_data("multi_llmbar_judges.jsonl.gz"))
    found = answered("judge", "--verdicts", path, "--resamples", "100")
    (row,) = (row for row in found["judges"] if row["judge"] == "GPT-4/Vanilla")
    assert round(row["consistency"]["value"], 3) == 0.927
    assert round(row["accuracy"]["value"], 3) == 0.849
    assert (row["pairs"], row["invalid"]) == (331, 0)


def test_a_judge_that_names_what_stands_first_has_a_half(lines, capsys, refused):
    rows = [{"label": 1 + i % 2, "judges": {"first": ["1", "2"]}} for i in range(6)]
    words = ["judge", "--verdicts", lines("gold.jsonl", rows)]
    assert run(["eval", *words]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[1].split()[:2] == ["first", "0.500"] and "A coin has 0.5" in shown[-1]
    bad = lines("bad.jsonl", [{"label": 3, "judges": {}}])
    assert f"{bad}:1: label: 1 or 2 is expected" in refused("judge", "--verdicts", bad)


# RewardBench ----------------------------------------------------------------------------------


def test_reward_bench_of_scores(lines, answered, refused, capsys):
    rows = [{"subset": "hep-go", "id": i, "score_chosen": a, "score_rejected": b}
            for i, (a, b) in enumerate([(1, 0), (2, 3), (1, 1), (None, 1)])]  # fmt: skip
    words = ["--scores", lines("scores.jsonl", rows), "--resamples", "100"]
    found = answered("reward-bench", *words)
    part = found["subsets"]["hep-go"]
    assert part["value"] == pytest.approx(1 / 3) and (part["ties"], part["invalid"]) == (1, 1)
    assert found["score"]["value"] is None and "math-prm" in found["missing"]
    assert run(["eval", "reward-bench", *words]) == 0
    assert capsys.readouterr().out.startswith(f"scores of {words[1]}\n")
    two = [{"subset": "Math", "id": "1", "scores": [2.0, 1.0, 0.0, -1.0]},
           {"subset": "Math", "id": "2", "scores": [1.0, 1.0, 0.0, -1.0]}]  # fmt: skip
    found = answered("reward-bench", "--scores", lines("two.jsonl", two), "--version", "2")
    assert found["subsets"]["Math"]["value"] == pytest.approx(0.75)
    assert "--render: it says how the model" in refused("reward-bench", *words, "--render", "chat")
    assert "Give --scores FILE, or --data" in refused("reward-bench")
    assert "Give --data FILE" in refused("reward-bench", "--model", "m")
    assert "--version" in refused("reward-bench", *words, "--version", "3")
    bad = lines("bad.jsonl", [{"subset": "hep-go", "score_chosen": 1.0}])
    assert f"{bad}:1: scores_rejected or" in refused("reward-bench", "--scores", bad)


def test_reward_bench_of_a_model(lines, tiny_model_dir, answered, refused, tmp_path):
    rows = [{"subset": "hep-go", "id": i, "prompt": "Sort", "chosen": "ab" * (i + 1),
             "rejected": "ba"} for i in range(3)]  # fmt: skip
    data = ["--data", lines("rows.jsonl", rows)]
    saved = ["--save-scores", str(tmp_path / "scores.jsonl")]
    model = ["--model", str(tiny_model_dir)]
    own = answered("reward-bench", *model, *data, *saved)
    assert own["scores"] == f"log π, nats, of {tiny_model_dir}"
    again = answered("reward-bench", "--scores", saved[1])
    assert again["subsets"] == own["subsets"]
    # a policy against itself gives every response the same
    same = answered("reward-bench", *model, *data, "--reference", str(tiny_model_dir))
    assert same["subsets"]["hep-go"]["value"] == 0.0 and same["subsets"]["hep-go"]["ties"] == 3
    said = refused("reward-bench", *model, *data, "--kind", "reward")
    assert "would grade at random" in said


# what is loaded -------------------------------------------------------------------------------


def test_no_model_library_is_loaded_where_no_model_is_run(lines):
    path = lines("v.jsonl", [verdict(i, i % 2) for i in range(4)])
    code = (
        "import sys; from luce.cli.main import run; "
        f"code = run(['eval', 'win-rate', '--verdicts', {path!r}, '--json']); "
        "print([m for m in ('transformers', 'peft', 'datasets', 'matplotlib') if m in sys.modules],"
        " file=sys.stderr); sys.exit(code)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(shown.stdout)["win_rates"] and shown.stderr.strip() == "[]"
