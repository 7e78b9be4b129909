"""RewardBench 1 and 2: published sums, hand-made scores, files."""

import json
import math

import numpy as np
import pytest

from luce.errors import DataError, LuceError
from luce.evaluate.reward_bench import (
    PRIOR_SETS,
    SECTIONS,
    overall_score,
    reward_bench,
    section_scores,
)
from luce.evaluate.reward_bench_2 import SUBSETS, reward_bench_2
from luce.evaluate.reward_files import (
    Outcome,
    ScoredList,
    outcome,
    read_outcomes,
    read_scored_lists,
)
from luce.intervals import wilson_interval

# score, Chat, Chat Hard, Safety, Reasoning: the leaderboard of autumn 2024, as printed in talks
PUBLISHED = [
    (92.2, 95.8, 87.1, 92.2, 93.6),
    (90.8, 96.9, 76.8, 92.2, 97.3),
    (89.5, 96.4, 71.3, 92.7, 97.7),
    (89.0, 91.3, 80.3, 93.7, 90.6),
    (88.7, 96.9, 84.0, 91.5, 82.5),
    (88.1, 92.3, 80.6, 87.5, 92.0),
    (88.1, 92.2, 75.7, 90.7, 93.8),
    (87.1, 98.3, 65.8, 89.7, 94.7),
    (87.1, 94.7, 65.1, 90.3, 98.2),
    (86.7, 96.1, 76.1, 88.1, 86.6),
    (85.9, 95.3, 74.3, 87.2, 86.9),
    (85.1, 95.3, 75.4, 87.1, 82.7),
    (84.7, 96.6, 70.4, 86.7, 84.9),
]


@pytest.mark.parametrize("row", PUBLISHED)
def test_every_published_score_is_the_mean_of_its_sections(row):
    score, *columns = row
    found = overall_score(dict(zip(SECTIONS, columns, strict=True)))
    assert found == pytest.approx(score, abs=0.1 + 1e-9)  # five numbers, each rounded to 0.05


def test_prior_sets_are_a_section_of_weight_one_half():
    sections = dict.fromkeys(SECTIONS, 0.9)
    assert overall_score(sections, 0.45) == pytest.approx((3.6 + 0.225) / 4.5)
    assert math.isnan(overall_score({"Chat": 1.0}))


def test_sections_weigh_subsets_by_their_published_sizes():
    found = section_scores(
        {"alpacaeval-easy": 1.0, "mt-bench-med": 0.5, "math-prm": 0.6, "hep-go": 0.9, "hep-js": 0.3}
    )
    assert found == pytest.approx(
        {"Chat": 120 / 140, "Reasoning": (984 * 0.6 + 164 * 1.2) / (984 + 328)}
    )
    sizes = {name: sum(weights.values()) for name, weights in SECTIONS.items()}
    assert sizes == {"Chat": 358, "Chat Hard": 456, "Safety": 740, "Reasoning": 1968}
    # math weighs as much as all code
    assert sizes["Reasoning"] == 2 * SECTIONS["Reasoning"]["math-prm"]


def all_right(share=1.0, n=4):
    wanted = [*(s for weights in SECTIONS.values() for s in weights)]
    return [Outcome(s, f"{s} {i}", float(i < share * n)) for s in wanted for i in range(n)]


def test_the_score_of_rows_is_the_mean_of_weighted_sections():
    outcomes = [
        Outcome(row.subset, row.id, 0.0) if row.subset == "math-prm" else row for row in all_right()
    ]
    found = reward_bench(outcomes, resamples=200)
    assert found.sections["Reasoning"].value == pytest.approx(0.5)
    assert found.score.value == pytest.approx((3 + 0.5) / 4)
    assert found.sections["Chat"].n == 20 and found.score.n == len(outcomes)
    assert found.missing == () and found.score_with_prior_sets is None
    assert found.lowest == found.highest == pytest.approx(found.score.value)


def test_intervals_of_subsets_are_wilsons_and_those_of_sections_shrink_with_the_rows():
    few, many = (reward_bench(all_right(0.75, n), resamples=300) for n in (4, 40))
    part = few.subsets[0]
    assert (part.accuracy.low, part.accuracy.high) == wilson_interval(3, 4)
    widths = [found.score.high - found.score.low for found in (few, many)]
    assert widths[0] / widths[1] == pytest.approx(math.sqrt(10), rel=0.25)
    assert few.score.low < 0.75 < few.score.high


def test_a_constant_score_is_never_right_and_its_ties_are_counted():
    outcomes = [outcome(row.subset, row.id, 0.3, 0.3) for row in all_right()]
    found = reward_bench(outcomes, resamples=20)
    assert found.score.value == 0
    assert all(part.ties == 4 for part in found.subsets)


def test_pairs_without_an_outcome_are_counted_and_bound_the_score():
    outcomes = all_right()
    outcomes[0] = outcome("alpacaeval-easy", "x", None, 0.1)
    found = reward_bench(outcomes, resamples=20)
    assert found.subsets[0].invalid == 1 and found.subsets[0].accuracy.n == 3
    assert found.score.value == 1.0
    assert found.lowest == pytest.approx((3 + (358 - 25) / 358) / 4)
    assert found.highest == 1.0
    assert any("had all that is missing been wrong" in line for line in found.lines())


def test_a_missing_subset_leaves_sections_and_no_score():
    outcomes = [row for row in all_right() if row.subset != "hep-go"] + [Outcome("mine", "1", 1.0)]
    found = reward_bench(outcomes, resamples=20)
    assert found.missing == ("hep-go",) and found.other == ("mine",)
    assert math.isnan(found.score.value) and found.sections["Reasoning"].value == 1.0
    text = "\n".join(found.lines())
    assert "No score: there are no rows of hep-go." in text and "In no section: mine." in text
    assert json.loads(json.dumps(found.plain(), allow_nan=False))["score"]["value"] is None


def test_prior_sets_add_a_second_score():
    extra = [Outcome(name, str(i), float(i < 2)) for name in PRIOR_SETS for i in range(4)]
    found = reward_bench([*all_right(), *extra], resamples=20)
    assert found.score.value == 1.0
    assert found.score_with_prior_sets is not None
    assert found.score_with_prior_sets.value == pytest.approx(4.25 / 4.5)


def test_nothing_to_score_is_said():
    with pytest.raises(LuceError, match="No pair has an outcome"):
        reward_bench([Outcome("hep-go", "1", None)])


# version 2 --------------------------------------------------------------------------------------


def lists(value, n=3):
    scores = (1.0, 0.0, 0.0, 0.0) if value else (0.0, 1.0, 0.0, 0.0)
    return [ScoredList(s, str(i), scores, 1) for s in SUBSETS[:-1] for i in range(n)]


TIES = [
    # margins: correct over wrong 2, spread 1 -> accurate, preferred
    ScoredList("Ties", "tied:1", (5.0, 4.0, 2.0), 2),
    ScoredList("Ties", "ref:1", (3.0, 2.5, 0.0), 1),  # margin 0.5: hard not preferred
    # margin 1, spread 3 -> accurate, not preferred
    ScoredList("Ties", "tied:2", (6.0, 3.0, 2.0), 2),
    ScoredList("Ties", "ref:2", (1.0, 2.0), 1),  # wrong, margin -1
]


def test_the_ties_are_worked_by_hand():
    found = reward_bench_2([*lists(True), *TIES], resamples=50)
    margins = [math.tanh(0.5 / 1 - 1), math.tanh(-1 / 3 - 1)]
    wanted = 0.3 * 1 + 0.3 * 0.5 + 0.2 * 0.5 + 0.2 * 0 + 0.01 * np.mean(margins)
    assert found.subsets["Ties"].value == pytest.approx(wanted)
    assert found.subsets["Ties"].n == 2
    assert found.ties["accuracy of ref"] == 0.5
    assert found.score.value == pytest.approx((5 + wanted) / 6)


def test_equal_correct_scores_have_no_spread():
    rows = [
        ScoredList("Ties", "tied:1", (5.0, 5.0, 2.0), 2),
        ScoredList("Ties", "ref:1", (3, 2), 1),
    ]
    perfect = reward_bench_2(rows, resamples=5)
    assert perfect.subsets["Ties"].value == pytest.approx(1.01)
    constant = [
        ScoredList("Ties", "tied:1", (5.0, 5.0, 5.0), 2),
        ScoredList("Ties", "ref:1", (5.0, 5.0), 1),
    ]
    assert reward_bench_2(constant, resamples=5).subsets["Ties"].value == 0.0


def test_a_constant_score_wins_its_share_only():
    rows = [ScoredList("Math", str(i), (0.5, 0.5, 0.5, 0.5), 1) for i in range(8)]
    assert reward_bench_2(rows, resamples=5).subsets["Math"].value == 0.25
    two = [ScoredList("Math", "1", (0.5, 0.5, 0.1, 0.0), 1)]
    assert reward_bench_2(two, resamples=5).subsets["Math"].value == 0.5


def test_rows_without_scores_are_counted_and_missing_subsets_leave_no_score():
    rows = [*lists(True)[:3], ScoredList("Factuality", "9", None, 1)]
    found = reward_bench_2(rows, resamples=5)
    assert found.invalid == {"Factuality": 1}
    assert "Ties" in found.missing and math.isnan(found.score.value)
    json.dumps(found.plain(), allow_nan=False)
    assert any("No score" in line for line in found.lines())


def test_the_two_rows_of_a_prompt_are_drawn_together():
    rows = []
    for i in range(40):
        good = i % 2
        rows.append(ScoredList("Ties", f"tied:{i}", (5.0, 4.9, 2.0 if good else 6.0), 2))
        rows.append(ScoredList("Ties", f"ref:{i}", (5.0, 2.0 if good else 6.0), 1))
    found = reward_bench_2(rows, resamples=400).subsets["Ties"]
    # each prompt adds all or nothing: the sd of a share of 40
    assert found.high - found.low == pytest.approx(3.92 * math.sqrt(0.25 / 40), rel=0.2)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ScoredList("Ties", "7", (1.0, 0.0), 1), "the id '7' is neither ref:N nor tied:N"),
        (ScoredList("Ties", "tied:7", (1.0, 0.0), 1), "tied:7 has one correct response"),
    ],
)
def test_strange_ties_are_named(row, message):
    with pytest.raises(DataError, match=message):
        reward_bench_2([row])


# files ------------------------------------------------------------------------------------------


def test_scores_are_read_row_by_row_or_column_by_column(tmp_path):
    rows = [
        {"subset": "hep-go", "id": 3, "scores_chosen": 0.5, "scores_rejected": [0.4]},
        {"subset": "hep-go", "id": 4, "scores_chosen": None, "scores_rejected": 0.4},
    ]
    by_row, by_column = tmp_path / "rows.jsonl", tmp_path / "columns.json"
    by_row.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    columns = {name: [row[name] for row in rows] for name in rows[0]} | {"model": "m"}
    by_column.write_text(json.dumps(columns, indent=1), encoding="utf-8")
    wanted = [Outcome("hep-go", "3", 1.0), Outcome("hep-go", "4", None)]
    assert read_outcomes(by_row) == wanted == read_outcomes(by_column)


def test_outcomes_of_a_judge_are_read_as_they_are(tmp_path):
    path = tmp_path / "judge.json"
    path.write_text(json.dumps([{"subset": "hep-go", "id": "1", "results": 0.5}]), encoding="utf-8")
    assert read_outcomes(path) == [Outcome("hep-go", "1", 0.5, True)]
    path.write_text(json.dumps([{"subset": "hep-go", "results": 2}]), encoding="utf-8")
    with pytest.raises(DataError, match="judge.json:1: results: found 2; give 1, 0, or 0.5"):
        read_outcomes(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"hep-go": 0.9, "model": "m"}, "no column `subset`.* not that of the subsets' accuracies"),
        ({"subset": ["a", "b"], "results": [1]}, "column results has 1 entries and `subset` has 2"),
        ([{"subset": "a", "id": 1}], "results or scores_chosen: there is no such field"),
        ([{"scores_chosen": 1}], "subset: there is no such field"),
        ([{"subset": "a", "scores_chosen": "x", "scores_rejected": 1}], "scores_chosen: a finite"),
    ],
)
def test_a_wrong_file_of_scores_is_named(tmp_path, content, message):
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_outcomes(path)


def test_lists_of_scores_are_read(tmp_path):
    path = tmp_path / "v2.json"
    rows = [
        {"subset": "Ties", "id": "tied:1", "scores": [[1.0], [2.0], [0.5]], "num_correct": 2},
        {"subset": "Math", "id": "5", "scores": [1.0, None]},
    ]
    path.write_text(json.dumps(rows), encoding="utf-8")
    assert read_scored_lists(path) == [
        ScoredList("Ties", "tied:1", (1.0, 2.0, 0.5), 2),
        ScoredList("Math", "5", None, 1),
    ]
    for change, message in (
        ({"num_correct": 3}, "num_correct: 3 of 3 are correct"),
        ({"scores": 1}, "scores: a list of two scores or more is expected, found a number"),
    ):
        path.write_text(json.dumps([rows[0] | change]), encoding="utf-8")
        with pytest.raises(DataError, match=message):
            read_scored_lists(path)
