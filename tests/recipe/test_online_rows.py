"""The rows of a round, by hand: labels, rankings, what is left out, and which rounds are kept."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from luce.data.template import Renderer
from luce.recipe.load import load_recipe
from luce.recipe.online_prompts import Prompt
from luce.recipe.online_rows import rows_to_train, select_rows
from luce.recipe.online_stages import Stage
from luce.recipe.schema import Online

Judged = Sequence[dict[str, Any]]


def never(*_: object) -> Any:
    raise AssertionError("nothing is loaded to select rows")


@pytest.fixture
def selected(recipe, tiny_model_dir, tmp_path) -> Callable[..., tuple[Any, Any]]:
    """Rows and ledger of a round whose prompts each gave the samples "a", "b b", "c c c" …, and
    were judged so."""
    renderer = Renderer(AutoTokenizer.from_pretrained(tiny_model_dir))

    def select(judged: Judged, *, max_length: int = 128, seed: int = 0, **online: Any) -> Any:
        given = recipe | {"online": {"annotator": "not:asked", "n": 3} | online}
        given["data"] = given["data"] | {"max_length": max_length}
        given["train"] = given["train"] | {"seed": seed}
        prompts, samples = [], []
        for number, verdict in enumerate(judged):
            text = f"say {number}"
            prompts.append(Prompt(number, text, tuple(renderer.prompt_ids(text))))
            texts = [" ".join("abc"[i] * (i + 1)) for i in range(len(verdict["rewards"]))]
            ids = [renderer.tokenizer.encode(t, add_special_tokens=False) for t in texts]
            own = [
                {"text": t, "ids": [*i, renderer.terminator]}
                for t, i in zip(texts, ids, strict=True)
            ]
            samples.append({"prompt": number, "samples": own})
        folder = tmp_path / "001"
        folder.mkdir(exist_ok=True)
        usual = [
            {"prompt": n, "kept": [*range(len(v["rewards"]))], "left_out": {}} | v
            for n, v in enumerate(judged)
        ]
        for name, lines in (("samples", samples), ("verdicts", usual)):
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in lines))
        resolved = load_recipe(given).recipe
        return select_rows(
            Stage(resolved, 1, folder, prompts, renderer, never, never, never, never)
        )

    return select


def test_the_best_against_the_worst(selected) -> None:
    rows, ledger = selected([{"rewards": [0.5, 2.0, -1.0]}])
    (row,) = rows
    assert ledger == []
    assert (row["chosen"], row["rejected"]) == ("b b", "c c c")
    assert (row["score_chosen"], row["score_rejected"], row["margin"]) == (2.0, -1.0, 3.0)
    assert "label" not in row and "weight" not in row
    assert row["id"] == "1-0" and row["source"] == "round 1"
    assert row["token_ids"].keys() == {"prompt", "chosen", "rejected"}


def test_a_soft_label_is_the_probability(selected) -> None:
    told = {"labels": "soft", "label_temperature": 2.0}
    (row,), _ = selected([{"rewards": [0.5, 2.0, -1.0]}], **told)
    assert row["label"] == pytest.approx(1 / (1 + math.exp(-3.0 / 2.0)))
    beats = [[None, 0.2, 0.6], [0.8, None, 0.9], [0.4, 0.1, None]]
    (row,), _ = selected([{"rewards": [0.4, 0.85, 0.25], "beats": beats}], **told)
    assert row["chosen"] == "b b" and row["label"] == 0.9  # what was said, not what rewards give


def test_a_drawn_label_turns_the_pair_as_often_as_its_probability_says(selected) -> None:
    judged = [{"rewards": [0.0, 1.0]}] * 500
    rows, _ = selected(judged, labels="drawn")
    turned = [row for row in rows if row["chosen"] == "a"]
    p = 1 / (1 + math.exp(1.0))
    assert abs(len(turned) / 500 - p) < 4 * math.sqrt(p * (1 - p) / 500)
    assert {row["margin"] for row in turned} == {-1.0}
    assert {(row["score_chosen"], row["score_rejected"]) for row in turned} == {(0.0, 1.0)}
    again, _ = selected(judged, labels="drawn")
    other, _ = selected(judged, labels="drawn", seed=1)
    assert again == rows != other


def test_a_ranking_has_all_samples_and_their_rewards(selected) -> None:
    (row,), _ = selected([{"rewards": [0.5, 2.0, -1.0]}], select="listwise")
    assert row["responses"] == ["a", "b b", "c c c"] and row["scores"] == [0.5, 2.0, -1.0]
    assert "chosen" not in row and len(row["token_ids"]["responses"]) == 3


def test_samples_whose_reward_is_no_number_are_counted_and_leave_every_table(selected) -> None:
    beats = [[None, 0.9, 0.9], [0.1, None, 0.3], [0.1, 0.7, None]]
    judged = {"rewards": [math.nan, 0.2, 0.4], "beats": beats, "members": [[9, 1, 2], [9, 3, 4]]}
    (row,), ledger = selected([judged], labels="soft")
    assert (row["chosen"], row["rejected"], row["label"]) == ("c c c", "b b", 0.7)
    assert ledger == [
        {"prompt": 0, "left_out": {}, "action": "changed", "reason": "reward_not_finite",
         "samples": 1}
    ]  # fmt: skip
    rows, ledger = selected([{"rewards": [math.inf, 1.0]}])
    assert rows == [] and [entry["reason"] for entry in ledger] == [
        "reward_not_finite", "fewer_than_two",
    ]  # fmt: skip


def test_rows_that_do_not_fit_are_dropped_and_named(selected) -> None:
    judged = [{"rewards": [0.5, 2.0, -1.0]}]
    (row,), _ = selected(judged)
    ids = row["token_ids"]
    longest = len(ids["prompt"]) + max(len(ids["chosen"]), len(ids["rejected"]))
    rows, ledger = selected(judged, max_length=longest)
    assert rows == [row] and ledger == []
    rows, ledger = selected(judged, max_length=longest - 1)
    assert rows == []
    assert [(e["prompt"], e["action"], e["reason"]) for e in ledger] == [(0, "dropped", "too_long")]


@pytest.fixture
def rounds(tmp_path) -> list[Path]:
    """Files of rounds of 6, 4 and 4 rows."""
    paths = []
    for number, count in enumerate((6, 4, 4), 1):
        paths.append(tmp_path / f"pairs-{number}.jsonl")
        paths[-1].write_text("".join(f"{number}-{i}\n" for i in range(count)))
    return paths


def kept(rounds: list[Path], seed: int = 0, number: int = 3, **online: Any) -> list[str]:
    lines = rows_to_train(seed, Online(annotator="not:asked", **online), rounds, number)
    return [line.strip() for line in lines]


def test_the_latest_rows_or_all(rounds) -> None:
    latest = [f"3-{i}" for i in range(4)]
    assert kept(rounds, train_on="latest") == latest
    every = [f"{n}-{i}" for n, count in ((1, 6), (2, 4), (3, 4)) for i in range(count)]
    assert kept(rounds, train_on="union") == every
    assert kept(rounds[:1], train_on="union") == kept(rounds[:1], train_on="replay") == every[:6]


@pytest.mark.parametrize(
    ("share", "earlier"), [(0.0, 0), (0.2, 1), (0.5, 4), (0.6, 6), (0.8, 10), (1.0, 10)]
)
def test_replayed_rows_are_their_share_of_all_while_there_are_so_many(
    rounds, share: float, earlier: int
) -> None:
    found = kept(rounds, train_on="replay", replay_share=share)
    old, new = found[:-4], found[-4:]
    assert new == [f"3-{i}" for i in range(4)] and len(old) == earlier
    assert old == sorted(set(old)) and not any(line.startswith("3") for line in old)
    if earlier < 10:
        assert len(old) / len(found) == pytest.approx(share)


def test_what_is_replayed_follows_from_seed_and_round(rounds) -> None:
    told = {"train_on": "replay", "replay_share": 0.5}
    first = kept(rounds, **told)
    assert kept(rounds, **told) == first
    others = [kept(rounds, seed=1, **told), kept(rounds, number=4, **told)]
    assert all(other != first for other in others)
