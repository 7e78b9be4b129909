"""Three online rounds against offline learning from as many annotations, on the built-in world."""

from pathlib import Path

import pytest

from luce.data.worlds.gold import total
from luce.evaluate import WinRate, win_rate
from luce.files import read_jsonl
from luce.recipe.demo import run_demo
from luce.recipe.online import online_run


def gold_of(folder, number: int) -> dict[int, float]:
    """The gold reward of the policy's answer to each held-out prompt after a round."""
    prompts = {row["number"]: row["prompt"] for row in read_jsonl(folder / "prompts.jsonl")}
    rows = read_jsonl(folder / "rounds" / f"{number:03d}" / "answers.jsonl")
    return {r["prompt"]: total(prompts[r["prompt"]], [r["text"]])[0] for r in rows}


def beats(ours, theirs) -> WinRate:
    first, second = gold_of(*ours), gold_of(*theirs)
    assert first.keys() == second.keys()
    return win_rate([first[k] for k in sorted(first)], [second[k] for k in sorted(first)])


@pytest.mark.slow
def test_online_beats_offline_with_as_many_annotations(tmp_path, monkeypatch):
    """`luce demo`, then the recipe of the repository as it stands."""
    recipe = Path(__file__).resolve().parents[2] / "recipes" / "online_tasks.yaml"
    monkeypatch.chdir(tmp_path)
    run_demo("runs/demo", report=lambda line: None)
    online = online_run(recipe, ["output_dir=online"])
    offline = online_run(
        recipe, ["online.rounds=1", "online.prompts_per_round=3000", "output_dir=offline"]
    )
    fresh, old = read_jsonl(online / "rounds.jsonl"), read_jsonl(offline / "rounds.jsonl")
    # repeated and empty answers are not judged, so the counts are not quite equal
    assert fresh[-1]["annotations_so_far"] <= old[-1]["annotations_so_far"]
    assert sum(line["samples"] for line in fresh) == old[-1]["samples"] == 12_000
    found = beats((online, 3), (offline, 1))
    assert found.low > 0.5, found
    assert beats((online, 3), (online, 0)).value > beats((offline, 1), (offline, 0)).value
