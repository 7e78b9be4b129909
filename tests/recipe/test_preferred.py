"""The win rate of a trained policy over the one it started as, by an annotator of the recipe."""

import itertools
import json
import sys
from pathlib import Path

import pytest

from luce.data.dataset import DataSettings
from luce.data.pack import pack
from luce.data.prompts import prompt_texts
from luce.data.template import Renderer
from luce.errors import RecipeError
from luce.models.export import save_model
from luce.models.reward import load_reward_model
from luce.recipe.run import train_run
from luce.types import Demonstration, Place

MINE = """
seen = []

def short(comparisons):
    seen.extend(comparisons)
    return [0.5 if len(c.a) == len(c.b) else float(len(c.a) < len(c.b)) for c in comparisons]

number = 3
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("short_judge.py").write_text(MINE)
    monkeypatch.delitem(sys.modules, "short_judge", raising=False)
    return "short_judge:short"


def test_people_compare_the_samples(recipe, tmp_path, monkeypatch, capfd):
    pytest.importorskip("fastapi")
    from luce.annotate.server import Store, Verdict
    from luce.annotate.server import people as module

    place, numbers = tmp_path / "votes.sqlite", itertools.count()

    def vote(seconds: float) -> None:
        """Somebody judges what waits: the first response is better."""
        store = Store(place)
        while (shown := store.next("anna", False)) is not None:
            verdict = Verdict("ranked", (1, 2)).placed(shown.order, back=True)
            store.vote("anna", shown.task, f"anna-{next(numbers):016d}", verdict)
        store.close()

    monkeypatch.setattr(module.time, "sleep", vote)
    recipe["evaluate"] |= {"annotator": f"people:{place}", "sample_prompts": 4}
    folder = train_run(recipe)
    rate = json.loads((folder / "evaluation.json").read_text())["win_rate"]
    assert rate["value"] == 1.0 and rate["annotator"] == f"people:{place}"
    assert f"luce annotate --store {place}" in capfd.readouterr().err


def test_people_have_no_kind_of_a_model(recipe, tmp_path):
    place = tmp_path / "v.sqlite"
    recipe["evaluate"] |= {"annotator": f"people:{place}", "annotator_kind": "reward"}
    with pytest.raises(RecipeError, match="reward is a kind of models, not of people"):
        train_run(recipe)


def samples(folder):
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def test_a_function_compares_the_samples(recipe, mine, pairs):
    recipe["evaluate"] |= {"annotator": mine, "sample_prompts": 6}
    folder = train_run(recipe)
    rows = samples(folder)
    expected = [
        0.5 if len(r["after"]) == len(r["before"]) else float(len(r["after"]) < len(r["before"]))
        for r in rows
    ]
    assert [r["preference"] for r in rows] == expected and len(rows) == 6
    found = json.loads((folder / "evaluation.json").read_text())
    rate = found["win_rate"]
    assert rate["value"] == pytest.approx(sum(expected) / 6) and rate["n"] == 6
    assert (rate["against"], rate["annotator"]) == ("initial", mine)
    assert 0 <= found["length_controlled"]["value"] <= 1
    report = (folder / "report.html").read_text()
    assert "At equal length it would win" in report and "short_judge:short" in report
    # prompts are those of the file, not as a template writes them
    asked = {c.prompt for c in sys.modules["short_judge"].seen}
    assert asked <= {json.loads(line)["prompt"] for line in pairs.read_text().splitlines()}


def test_a_reward_model_compares_the_samples(recipe, tiny_model_dir, tmp_path):
    model = load_reward_model(str(tiny_model_dir), seed=5)
    row = Demonstration(prompt="p", completion="c", place=Place("x", 1), id="x")
    group = Renderer(model.tokenizer).group(row)
    save_model(model, tmp_path / "rm", packed=pack([group], keep_last=True))
    recipe["evaluate"] |= {"annotator": str(tmp_path / "rm")}
    folder = train_run(recipe)
    assert {r["preference"] for r in samples(folder)} <= {0.0, 0.5, 1.0}
    assert json.loads((folder / "evaluation.json").read_text())["win_rate"]["n"] == 4


def test_an_annotator_that_cannot_work_is_told_before_training(recipe, mine, tmp_path):
    for change, message in (
        ({"annotator": "short_judge:number"}, "is no `module:function`"),
        ({"annotator": "no_such:thing"}, "No module named"),
        ({"annotator": str(tmp_path / "nothing")}, "no such model folder"),
        ({"annotator": mine, "sample_prompts": 0}, "there are none"),
    ):
        given = recipe | {"evaluate": recipe["evaluate"] | change}
        with pytest.raises(RecipeError, match=rf"^recipe\.evaluate\.annotator: .*{message}"):
            train_run(given)
        assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_prompts_are_found_again(pairs, tmp_path):
    lines = pairs.read_text().splitlines()
    places = [Place(str(pairs), n) for n in (3, 1, 40)]
    found = prompt_texts(str(pairs), DataSettings(), places)
    assert found == {p: json.loads(lines[p.line - 1])["prompt"] for p in places}
    chat = tmp_path / "chat.jsonl"
    turns = [{"role": "user", "content": "hi"}]
    row = {"question": turns, "chosen": "a", "rejected": "b"}
    chat.write_text(json.dumps(row) + "\n" + "broken\n")
    settings = DataSettings(columns={"prompt": "question"})
    assert prompt_texts(str(chat), settings, [Place(str(chat), 1), Place(str(chat), 9)]) == {
        Place(str(chat), 1): tuple(turns)
    }
