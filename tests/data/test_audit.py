"""Each finding is planted in a clean file and found; the clean file has none."""

import json
import random
from dataclasses import replace

import pytest

from luce.data.audit import audit
from luce.data.formats import named
from luce.data.rows import read
from luce.intervals import Estimate
from luce.types import Place, Preference, Ranking

VOCABULARY = [a + b + c for a in "bdfgklmnpr" for b in "aeiou" for c in "lmnrstvz"]
N = 400


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr("luce.data.audit.estimates.RESAMPLES", 200)


def sentence(generator, low=15, high=40):
    return " ".join(generator.choices(VOCABULARY, k=generator.randint(low, high))) + "."


def clean(seed=0, n=N):
    """Pairs of random texts: the label has nothing to do with what can be seen of them."""
    generator = random.Random(seed)
    return [
        Preference(
            prompt=sentence(generator, 8, 20), chosen=sentence(generator),
            rejected=sentence(generator), place=Place("f.jsonl", i + 1), id=f"f.jsonl:{i + 1}",
        )
        for i in range(n)
    ]  # fmt: skip


def names(rows, **more):
    return {finding.name for finding in audit(rows, **more).findings()}


def some(n=N, every=4):
    return range(0, n, every)


def plant(change, every=4):
    rows = clean()
    for i in some(every=every):
        rows[i] = change(rows[i])
    return rows


def turned(rows):
    return [replace(row, chosen=row.rejected, rejected=row.chosen) for row in rows]


@pytest.mark.parametrize("seed", range(5))
def test_a_clean_file_has_no_finding(seed):
    found = audit(clean(seed), against=[("bench", ["name a prime", "another one"])])
    assert found.findings() == [] and found.leave() == {}


@pytest.mark.slow
def test_small_clean_files_have_a_finding_in_one_of_twenty_at_most_or_so():
    found = [audit(clean(seed, 60)).findings() for seed in range(100, 130)]
    assert sum(map(bool, found)) <= 3


def test_empty_identical_and_repeated_prompts():
    rows = clean()
    rows[3] = replace(rows[3], rejected="  \n")
    rows[5] = replace(rows[5], chosen=rows[5].rejected.upper())
    rows[7] = replace(rows[7], rejected=rows[7].prompt)
    found = audit(rows)
    assert {x.name: x.rows for x in found.findings()} == {
        "empty": 1, "identical": 1, "prompt_repeated": 1,
    }  # fmt: skip
    assert {row: e["reason"] for row, e in found.leave().items()} == {
        3: "empty", 5: "identical", 7: "prompt_repeated",
    }  # fmt: skip


def test_copies_and_near_copies():
    rows = clean()
    rows[10] = replace(rows[2], place=rows[10].place, id="copy")
    near = rows[4].chosen.split()
    rows[20] = replace(rows[4], chosen=" ".join([*near[:-1], "other."]), place=rows[20].place)
    found = audit(rows)
    assert {x.name for x in found.findings()} == {"duplicate", "near_duplicate"}
    assert "f.jsonl:3" in found.leave()[10]["detail"]
    assert set(found.leave()) == {10, 20}


def test_one_long_prompt_with_other_responses_makes_no_near_copies():
    prompt = sentence(random.Random(7), 300, 300)
    rows = clean()
    for i in (5, 6, 7):
        chosen, rejected = (" ".join(t.split()[:8]) for t in (rows[i].chosen, rows[i].rejected))
        rows[i] = replace(rows[i], prompt=f"{prompt} {i}", chosen=chosen, rejected=rejected)
    assert names(rows) == set()


def test_near_copies_are_marked_for_every_annotator():
    rows = clean()
    near = " ".join([*rows[4].chosen.split()[:-1], "other."])
    copies = [replace(rows[4], chosen=near, place=Place("f.jsonl", 1000 + i)) for i in range(2)]
    rows += [replace(copies[0], annotator="anna"), replace(copies[1], annotator="ben")]
    assert set(audit(rows).leave()) == {N, N + 1}


def test_pairs_of_one_prompt_with_a_response_in_common_are_no_near_copies():
    rows = clean()
    for i in range(1, 50):
        rows[i] = replace(rows[i], prompt=rows[0].prompt, chosen=rows[0].chosen)
    assert names(rows) == set()


def test_contradictions_of_one_annotator_but_not_of_two():
    rows = clean()
    turn = turned([rows[0]])[0]
    rows[9] = replace(turn, place=rows[9].place)
    found = audit(rows)
    assert {x.name for x in found.findings()} == {"contradiction"}
    assert set(found.leave()) == {0, 9}
    rows[0], rows[9] = replace(rows[0], annotator="anna"), replace(rows[9], annotator="ben")
    assert names(rows) == set()


def test_a_taste_for_length():
    def longer(row):
        a, b = row.chosen, row.rejected
        return row if len(a) >= len(b) else replace(row, chosen=b, rejected=a)

    found = audit(plant(longer, every=3))
    assert {x.name for x in found.findings()} == {"length"}
    told = found.findings()[0].sentence
    assert (
        "longer" in told
        and f"of {found.lengths.characters.longer + found.lengths.characters.shorter}" in told
    )  # noqa: E501
    assert found.lengths.slope.low > 0
    back = audit(turned(plant(longer, every=3)))
    assert "shorter" in back.findings()[0].sentence and back.lengths.slope.high < 0


@pytest.mark.parametrize(
    ("mark", "words"),
    [
        ("Sure. {}", "begins with 'sure'"),
        ("I'm sorry, but I cannot help with that. {}", "refuses"),
        ("- one\n- two\n{}", "has a bullet list"),
        ("```\nx\n```\n{}", "has code"),
        ("# Title\n{}", "has a heading"),
        (
            "Ответ на этот вопрос такой, каким он и должен быть, по порядку. {}",
            "is in Cyrillic letters",
        ),
    ],
)
def test_a_mark_that_only_chosen_responses_have(mark, words):
    rows = plant(lambda row: replace(row, chosen=mark.format(row.chosen[:20])), every=5)
    told = [x.sentence for x in audit(rows).findings() if x.name == "separable"]
    assert any(words in sentence and "preferred" in sentence for sentence in told), told
    told = [x.sentence for x in audit(turned(rows)).findings() if x.name == "separable"]
    assert any(words in sentence and "rejected in" in sentence for sentence in told), told


def test_a_mark_that_decides_few_pairs_or_says_nothing_is_no_finding():
    rare = plant(lambda row: replace(row, chosen=f"# Title\n{row.chosen}"), every=40)
    assert names(rare) == set()
    generator = random.Random(2)
    even = plant(lambda row: turned([row])[0] if generator.random() < 0.5 else row, every=1)
    even = [replace(row, chosen=f"# Title\n{row.chosen}") for row in even]
    even = [turned([row])[0] if i % 2 else row for i, row in enumerate(even)]
    assert names(even) == set()


def test_a_mark_that_wins_by_luck_is_no_finding():
    rows = clean()
    for i in range(40):  # 25 of 40 is 62.5 %, 1.6 standard errors off a half
        side = "chosen" if i < 25 else "rejected"
        rows[i] = replace(rows[i], **{side: f"# Title\n{getattr(rows[i], side)}"})
    found = audit(rows)
    one = next(x for x in found.separability.features if x.name == "has a heading")
    assert (one.pairs, one.preferred.value) == (40, 0.625)
    assert one.accuracy > 0.6 and one.decides.value > 0.05 and not one.found
    assert found.findings() == []


def test_another_language_than_the_prompts():
    english, french = (
        "What is the name of this and of that, and is it not in the book?",
        "Le nom de cette ville est dans le livre, et les mots sont pour vous.",
    )
    rows = [
        replace(row, prompt=f"{row.prompt} {english}", chosen=f"{english} {row.chosen}",
                rejected=f"{french if i % 5 == 0 else english} {row.rejected}")
        for i, row in enumerate(clean())
    ]  # fmt: skip
    told = " ".join(x.sentence for x in audit(rows).findings())
    assert "is in another language than the prompt is rejected in 100.0 %" in told


def repeats(flips, seed=3):
    """Every pair judged by two annotators, each flipping labels at this rate."""
    generator = random.Random(seed)
    rows = []
    for row in clean(seed):
        for who in ("anna", "ben"):
            judged = turned([row])[0] if generator.random() < flips else row
            rows.append(replace(judged, annotator=who))
    return rows


def test_flipped_labels_are_estimated_from_repeats():
    found = audit(repeats(0.2))
    assert "noise" in {x.name for x in found.findings()}
    assert found.noise.flips.low < 0.2 < found.noise.flips.high
    assert found.noise.repeated == N and found.noise.annotators
    quiet = audit(repeats(0.0))
    assert quiet.findings() == [] and quiet.noise.flips.value == 0


def test_without_repeats_the_errors_of_a_simple_model_bound_the_flips():
    generator = random.Random(0)
    rows = []
    for row in clean():
        marked = replace(row, chosen=f"# Title\n{row.chosen}")
        rows.append(turned([marked])[0] if generator.random() < 0.1 else marked)
    found = audit(rows).noise
    assert found.repeated == 0
    assert found.error.low < 0.1 < found.error.high < 0.2
    assert audit(clean()).noise.error.value > 0.4


def test_responses_that_hardly_differ():
    def alike(row):
        words = row.chosen.split()
        return replace(row, rejected=" ".join([*words[:-1], "zzz."]))

    rows = plant(alike, every=4)
    found = audit(rows)
    assert {x.name for x in found.findings()} == {"displacement"}
    assert found.displacement.looked_at == N
    assert 0.15 < found.displacement.alike.value <= 0.25


def test_leaks_and_contamination():
    rows = clean()
    found = audit(rows, against=[("bench", [rows[3].prompt.upper(), f"{rows[8].prompt} more"])])
    assert {x.name: x.rows for x in found.findings()} == {"leak": 1, "contamination": 1}
    assert {i: e["reason"] for i, e in found.leave().items()} == {3: "leak", 8: "contamination"}


def test_sources_and_annotators_are_told_one_by_one():
    rows = [
        replace(row, source="long" if i % 2 else "any", chosen=row.chosen + " and more" * 40)
        if i % 2
        else replace(row, source="any")
        for i, row in enumerate(clean())
    ]
    parts = {part.name: part for part in audit(rows).parts}
    assert set(parts) == {"any", "long"}
    assert parts["long"].length.preferred.value == 1 > 0.6 > parts["any"].length.preferred.value


def test_a_ranking_leaves_only_where_every_pair_is_at_fault():
    rows = clean()
    place = Place("f.jsonl", 500)
    half = Ranking(
        prompt="p", responses=("a b", "", "c"), scores=(1.0, 0.0, 2.0), place=place, id="x"
    )
    whole = Ranking(prompt="q", responses=("", ""), scores=(0.0, 1.0), place=place, id="y")
    assert set(audit([*rows, half, whole]).leave()) == {N + 1}


def test_everything_can_be_written_as_json():
    found = audit(clean(n=30))
    text = json.dumps(found.plain(), allow_nan=False)
    assert json.loads(text)["pairs"] == 30
    assert all(line for _, lines in found.sections() for line in lines)


def test_one_pair_alone_has_numbers_and_no_finding():
    found = audit([replace(clean(n=1)[0], prompt="?!")])
    assert found.findings() == [] and found.pairs.prompt_count == 1


# What published data say, as counted by hand beforehand: (share, file).


def near(estimate: Estimate, value):
    assert abs(estimate.value - value) <= 0.005 and estimate.low < value < estimate.high, estimate


def converted(path, format, keep=lambda record: record):
    return [named(format).convert(place, keep(record)) for place, record in read(str(path))]


@pytest.mark.parametrize(
    ("name", "format"), [("raw", "hh"), pytest.param("conv", "pairs", marks=pytest.mark.slow)]
)
def test_people_prefer_the_shorter_of_harmless_answers(real_data, name, format):
    rows = converted(real_data(f"hh_harmless_{name}.jsonl.gz"), format)
    found = audit(rows)
    by = found.lengths.characters
    assert (by.longer, by.shorter, by.equal) == (803, 987, 10)
    near(by.preferred, 0.446)
    assert any("A response that refuses is preferred" in x.sentence for x in found.findings())
    assert sum(len(f.pairs) for f in found.faults if f.reason == "empty") == 4


@pytest.mark.slow
def test_the_longer_of_two_samples_of_one_policy_wins_a_little_more_often(real_data):
    def scored(record):
        kept = [c for c in record["candidates"] if c["score"] is not None]
        return {**record, "candidates": kept}

    rows = converted(real_data("bon16_tulu2.jsonl.gz"), "candidates", scored)
    found = audit(rows)
    near(found.lengths.characters.preferred, 0.583)
    assert found.pairs.prompt_count > 600


def test_the_majority_of_three_people_prefers_the_longer(real_data):
    rows = []
    for place, record in read(str(real_data("multi_pandalm_3humans.jsonl.gz"))):
        votes = [record[f"annotator{n}"] for n in (1, 2, 3)]
        for side, other in ((1, 2), (2, 1)):
            if votes.count(side) >= 2:
                rows.append(
                    Preference(
                        prompt=record["instruction"],
                        chosen=record[f"output_{side}"],
                        rejected=record[f"output_{other}"],
                        place=place,
                        id=record["id"],
                    )  # fmt: skip
                )
    near(audit(rows).lengths.characters.preferred, 0.690)


@pytest.mark.slow
def test_two_judges_of_the_same_pairs_differ_in_their_taste_for_length(real_data):
    rows = []
    for place, record in read(str(real_data("multi_gpt4_vs_claude.jsonl.gz"))):
        for who, vote in record["preferences"].items():
            fields = {k: record[k] for k in ("instruction", "output_1", "output_2")}
            judged = {**fields, "preference": vote, "annotator": who}
            rows.append(named("alpaca_eval_pairs").convert(place, judged))
    parts = {part.name: part.length.preferred for part in audit(rows).parts}
    near(parts["alpaca_eval_gpt4"], 0.747)
    near(parts["claude"], 0.657)
