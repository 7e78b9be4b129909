"""The page on evaluation: every command that it shows runs, on files of the formats it names."""

import json
import random
import re
import shlex
import shutil
from pathlib import Path

import pytest

from luce.cli.main import run
from luce.data.template import Renderer
from luce.models.export import save_model
from luce.models.reward import load_reward_model
from luce.recipe.eval_verdicts import read_verdicts

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "evaluation.md").read_text()
SHOWN = re.findall(r"^\$ (luce .*)$", PAGE, flags=re.M)


def lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_model_dir):
    """A folder with a file of every name on the page."""
    home, draw = tmp_path_factory.mktemp("page"), random.Random(0)
    _verdicts(home, draw)
    _alpaca(home, draw)
    _arena(home, draw)
    _mt(home, draw)
    _rewards(home, draw)
    labels = [{"id": str(i), "label": 1 + i % 2, "judges": {"j": [str(1 + i % 2), "1"]}}
              for i in range(6)]  # fmt: skip
    lines(home / "gold.jsonl", labels)
    reward = load_reward_model(str(tiny_model_dir))
    Renderer(reward.tokenizer)
    save_model(reward, home / "runs/reward/model")
    shutil.copytree(tiny_model_dir, home / "runs/dpo/model")
    shutil.copytree(tiny_model_dir, home / "base")
    return home


def _verdicts(home, draw):
    blocks = re.findall(r"```json\n(.*?)```", PAGE, flags=re.S)
    example = [json.loads(line) for line in blocks[0].splitlines()]
    duel = [
        {"prompt": i, "model_a": a, "model_b": "old", "preference": draw.random(), "order": order,
         "length_a": 60 + i + len(a), "length_b": 50 + 3 * i}
        for a in ("new", "other") for i in range(12) for order in ("ab", "ba")
    ]  # fmt: skip
    lines(home / "verdicts.jsonl", [*example, *duel[:24]])
    others = [{**row, "model_a": "new", "model_b": "other"} for row in duel[:24]]
    for row in others:
        row["length_a"], row["length_b"] = 60 + row["prompt"] + 3, 60 + row["prompt"] + 5
    lines(home / "tournament.jsonl", [*duel, *others])


def _alpaca(home, draw):
    def rows(model):
        return [
            {"generator_1": "base", "output_1": "x" * draw.randint(5, 50), "generator_2": model,
             "output_2": "y" * draw.randint(5, 50), "preference": 1 + draw.random(), "index": i}
            for i in range(20)
        ]  # fmt: skip

    for name, model in (("annotations", "m"), ("a", "a"), ("b", "b")):
        (home / f"{name}.json").write_text(json.dumps(rows(model)))
    for model in ("new", "base"):
        said = [{"instruction": f"Do {i}", "output": "z" * draw.randint(5, 50), "generator": model}
                for i in range(20)]  # fmt: skip
        (home / f"{model}.json").write_text(json.dumps(said))
    hard = "".join(f"{i},{draw.gauss(0, 1)}\n" for i in range(20))
    (home / "instruction_difficulty.csv").write_text("index,instruction_difficulty\n" + hard)
    gamed = "".join(f"{draw.random()},{draw.gauss(0, 1)},{draw.gauss(0, 1)}\n" for _ in range(40))
    head = "preference,std_delta_len,instruction_difficulty\n"
    (home / "df_gamed.csv").write_text(head + gamed)
    (home / "known.csv").write_text("model,C\na,2.78\nb,\n")


def _arena(home, draw):
    battles = [
        {"question_id": i, "model_a": "base", "model_b": m, "winner": w}
        for m in ("a", "b") for i in range(8) for w in ("model_a", "model_b", "tie")
    ]  # fmt: skip
    lines(home / "arena_hard_battles.jsonl", battles)
    for model in ("a", "b"):
        games = [[{"score": draw.choice(["A>>B", "A>B", "A=B"])}, {"score": "A>B"}]
                 for _ in range(8)]  # fmt: skip
        judged = [{"question_id": i, "model": model, "games": g} for i, g in enumerate(games)]
        lines(home / f"model_judgment/{model}.jsonl", judged)
    questions = [{"question_id": i, "turns": [{"content": f"Do {i}"}]} for i in range(8)]
    lines(home / "arena.jsonl", questions)
    for model in ("a", "b", "base"):
        answers = [
            {"question_id": i, "model_id": model,
             "choices": [{"turns": ["# Title\n" * draw.randint(0, 2) + "x" * draw.randint(1, 99)]}]}
            for i in range(8)
        ]  # fmt: skip
        lines(home / f"model_answer/{model}.jsonl", answers)


def _mt(home, draw):
    questions = [{"question_id": i, "category": c, "turns": ["?", "?"]}
                 for i, c in enumerate(("writing", "math", "roleplay"))]  # fmt: skip
    lines(home / "question.jsonl", questions)
    for model in ("new", "old"):
        said = [{"question_id": i, "model_id": model, "choices": [{"turns": [model, "no"]}]}
                for i in range(3)]  # fmt: skip
        lines(home / f"mt_answer/{model}.jsonl", said)
    answers = {"question_id": 1, "choices": [{"turns": ["4", "5"]}]}
    lines(home / "reference_answer/gpt-4.jsonl", [answers])
    ratings = [{"question_id": i, "model": m, "turn": t, "score": draw.randint(1, 10)}
               for m in ("new", "old") for i in range(3) for t in (1, 2)]  # fmt: skip
    lines(home / "gpt-4_single.jsonl", ratings)
    pairs = [{"question_id": i, "model_1": "new", "model_2": "old", "g1_winner": "model_1",
              "g2_winner": w} for i, w in enumerate(("model_1", "tie", "error"))]  # fmt: skip
    lines(home / "gpt-4_pair.jsonl", pairs)


def _rewards(home, draw):
    columns = {
        "subset": ["hep-go"] * 4,
        "id": [1, 2, 3, 4],
        "scores_chosen": [1.0, 2.0, 0.5, 1.0],
        "scores_rejected": [0.0, 1.0, 0.5, 3.0],
    }
    (home / "scores.json").write_text(json.dumps(columns))
    rows = [{"subset": "hep-go", "id": i, "prompt": f"say {i}", "chosen": "yes", "rejected": "no"}
            for i in range(3)]  # fmt: skip
    lines(home / "filtered.jsonl", rows)
    rule = (
        "def prefers(comparisons):\n"
        "    return [0.7 if len(c.a) > len(c.b) else 0.4 for c in comparisons]\n"
    )
    (home / "rules.py").write_text(rule)
    lists = [{**row, "subset": "Math", "chosen": ["a"], "rejected": ["b", "c"]} for row in rows]
    lines(home / "bench2.jsonl", lists)


def test_the_page_shows_every_command():
    shown = {shlex.split(line)[2] for line in SHOWN}
    assert shown == {"win-rate", "alpaca-eval", "arena-hard", "mt-bench", "reward-bench", "judge"}


@pytest.mark.parametrize(
    "line", SHOWN, ids=[f"{shlex.split(x)[2]}-{i}" for i, x in enumerate(SHOWN)]
)
def test_every_command_of_the_page_runs(folder, monkeypatch, capsys, line):
    monkeypatch.chdir(folder)
    words = shlex.split(line)[1:]
    fewer = {"win-rate": ["--resamples", "100", "--refits", "20"]}
    fewer |= {"alpaca-eval": ["--refits", "20"], "arena-hard": ["--refits", "20"]}
    assert run([*words, *fewer.get(words[1], ["--resamples", "100"])]) == 0, capsys.readouterr().err
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) > (1 if "--dry-run" in words else 2)
    if "--json" in words:
        assert json.loads(shown)


def test_the_verdicts_of_the_page_are_read(folder):
    (one, other, *_), unit = read_verdicts([folder / "verdicts.jsonl"])
    assert (one.preference, other.reason, other.order, unit) == (0.9, "unparsed", "ba", "as given")


def test_the_page_names_the_columns_of_the_tables(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    run(shlex.split(SHOWN[0])[1:])
    shown = capsys.readouterr().out
    assert "won   tied   lost  invalid" in shown and "lengths held equal (as given):" in shown
    assert "order shown:" in shown and "1 of 26 verdicts missing (unparsed 1)" in shown
