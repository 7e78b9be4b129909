"""`luce data check` on files: what is read, compared, judged by a policy, and written again."""

import gzip
import json
import random
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from luce.data.formats import named
from luce.errors import DataError
from luce.intervals import Estimate
from luce.recipe.data_check import data_check
from luce.recipe.data_coverage import coverage
from luce.recipe.data_people import agreement_of, generators, transitivity_of
from luce.types import Place, Preference, Ranking

VOCABULARY = [a + b + c for a in "bdfgklmnpr" for b in "aeiou" for c in "lmnrstvz"]
BEATS = {"rock": "scissors", "paper": "rock", "scissors": "paper"}


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr("luce.data.audit.estimates.RESAMPLES", 200)


def sentence(generator, low=15, high=40):
    return " ".join(generator.choices(VOCABULARY, k=generator.randint(low, high))) + "."


def clean(n=200, seed=0):
    generator = random.Random(seed)
    return [
        {"question": sentence(generator, 9, 20), "chosen": sentence(generator),
         "rejected": sentence(generator), "kept": i}
        for i in range(n)
    ]  # fmt: skip


def written(path, rows):
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.name.endswith(".gz") else text.encode())
    return str(path)


COLUMNS = {"prompt": "question"}


def names(found):
    return {finding.name for finding in found.findings}


def row(prompt, chosen, rejected, line=1, **more):
    return Preference(
        prompt=prompt, chosen=chosen, rejected=rejected, place=Place("f", line), id=f"f:{line}",
        **more,
    )  # fmt: skip


def test_a_clean_file_has_no_finding_and_says_what_was_looked_at(tmp_path):
    found = data_check(written(tmp_path / "a.jsonl", clean()), columns=COLUMNS)
    assert found.findings == () and "no finding." in found.text()
    facts = dict(found.facts())
    assert facts["rows"] == "200 used, 0 unusable"
    assert facts["pairs"].startswith("200 of 200 prompts")
    json.dumps(found.plain(), allow_nan=False)


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".jsonl.gz"])
def test_the_filtered_file_holds_the_rows_without_a_fault_as_they_were(tmp_path, suffix):
    rows = clean()
    rows[3]["chosen"] = ""
    rows[4]["rejected"] = rows[4]["chosen"]
    rows[9] = {**rows[8], "kept": 9}
    rows[20] = {"question": "q", "chosen": "a"}
    rows[30] = "{half a line"
    source, out = written(tmp_path / "a.jsonl", rows), tmp_path / f"clean{suffix}"
    found = data_check(source, columns=COLUMNS, filter=out)
    assert names(found) == {"unreadable", "empty", "identical", "duplicate"}
    data = out.read_bytes()
    text = (gzip.decompress(data) if suffix.endswith("gz") else data).decode()
    kept = json.loads(text) if suffix == ".json" else [json.loads(x) for x in text.splitlines()]
    assert kept == [rows[i] for i in range(200) if i not in (3, 4, 9, 20, 30)]
    left = [json.loads(x) for x in (tmp_path / "clean.left.jsonl").read_text().splitlines()]
    assert [(e["line"], e["reason"]) for e in left] == [
        (4, "empty"), (5, "identical"), (10, "duplicate"), (21, "missing"), (31, "json"),
    ]  # fmt: skip
    assert found.filtered is not None and found.filtered.kept == 195
    assert data_check(str(out), columns=COLUMNS).findings == ()
    with pytest.raises(DataError, match="exists"):
        data_check(source, columns=COLUMNS, filter=out)
    data_check(source, columns=COLUMNS, filter=out, overwrite=True)


def test_the_output_of_a_filter_must_be_json(tmp_path):
    source = written(tmp_path / "a.jsonl", clean(20))
    with pytest.raises(DataError, match="End its name"):
        data_check(source, columns=COLUMNS, filter=tmp_path / "out.csv")


@pytest.mark.parametrize("column", ["question", "prompt", "instruction", "turns", "text"])
def test_a_benchmark_is_read_by_whatever_holds_its_prompts(tmp_path, column):
    rows = clean()
    prompt = rows[5]["question"]
    value = [{"role": "user", "content": prompt}] if column == "turns" else prompt
    bench = written(tmp_path / "bench.jsonl", [{column: value}])
    found = data_check(written(tmp_path / "a.jsonl", rows), columns=COLUMNS, against=[bench])
    assert {f.name: f.rows for f in found.findings} == {"leak": 1}


def test_another_split_is_read_as_rows(tmp_path):
    rows = clean()
    other = [{**r, "prompt": r["question"]} for r in rows[:3]] + [
        {"prompt": "p", "chosen": "a", "rejected": "b"} for _ in range(3)
    ]
    test = written(tmp_path / "test.jsonl", other)
    found = data_check(written(tmp_path / "a.jsonl", rows), columns=COLUMNS, against=[test])
    assert {f.name: f.rows for f in found.findings} == {"leak": 3}
    with pytest.raises(DataError, match="no prompt to compare with"):
        data_check(
            str(tmp_path / "a.jsonl"), columns=COLUMNS,
            against=[written(tmp_path / "odd.jsonl", [{"x": 1}])],
        )  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"prompt": "p", "chosen": "a"}] * 3, "no format has these columns"),
        ([{"prompt": "p", "completion": "a", "label": True}] * 3, "a Feedback"),
        (["{"], "no row can be read"),
        ([{"prompt": "p", "responses": ["a", "b"], "scores": [1, 1]}] * 3, "nothing to look at"),
    ],
)
def test_a_file_without_pairs_is_refused(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        data_check(written(tmp_path / "a.jsonl", rows))


def game(n, prompt, noise=0.1, seed=0):
    generator = random.Random(seed)
    rows = []
    for i in range(n):
        a, b = generator.sample(list(BEATS), 2)
        won, lost = (a, b) if BEATS[a] == b else (b, a)
        if generator.random() < noise:
            won, lost = lost, won
        rows.append(row(prompt(i), won, lost, i + 1))
    return rows


@pytest.mark.parametrize("prompt", [lambda i: f"Game {i}?", lambda i: f"Game {i % 2}?"])
def test_rock_paper_scissors_is_said_to_be_beyond_a_scalar_reward(prompt):
    found = transitivity_of(game(300, prompt))
    assert found is not None and found.found.verdict == "not adequate"
    assert found.findings()[0].sentence.startswith("A scalar reward is not adequate")


def test_an_order_of_named_generators_is_within_a_scalar_reward():
    generator, order = random.Random(0), ["small", "middle", "large"]
    rows = []
    for i in range(900):
        a, b = sorted(generator.sample(range(3), 2))
        won, lost = (b, a) if generator.random() < 0.6 + 0.1 * (b - a) else (a, b)
        models = {"chosen_model": order[won], "rejected_model": order[lost]}
        rows.append(row(f"p {i}", f"c {i}", f"r {i}", i + 1, extra=models))
    found = transitivity_of(rows)
    assert found is not None and found.found.verdict != "not adequate"
    assert found.items == "3 generators that the rows name" and found.findings() == []


def test_cycles_of_named_generators_are_found_in_the_columns_of_alpaca_eval():
    rows = [
        row(r.prompt, f"{r.chosen} {i}", f"{r.rejected} {i}", i + 1,
            extra={"generator_1": r.rejected, "generator_2": r.chosen, "chosen_is": "output_2"})
        for i, r in enumerate(game(300, lambda i: f"Game {i}?"))
    ]  # fmt: skip
    found = transitivity_of(rows)
    assert found is not None and found.found.verdict == "not adequate"
    assert generators({"generator_1": "a"}) is None


def test_pairs_that_close_no_loop_are_not_asked():
    assert transitivity_of([row(f"p {i}", f"c {i}", f"r {i}", i + 1) for i in range(50)]) is None
    ranking = Ranking(prompt="p", responses=("a", "b", "c"), scores=(1.0, 2.0, 3.0),
                      place=Place("f", 1), id="1")  # fmt: skip
    assert transitivity_of([ranking]) is None


def test_annotators_who_disagree_and_who_agree():
    generator = random.Random(0)
    rows = []
    for i in range(200):
        for who in ("anna", "ben"):
            sides = ("a", "b") if generator.random() < 0.5 else ("b", "a")
            rows.append(row(f"p {i}", *sides, i + 1, annotator=who))
    found, findings = agreement_of(rows)
    assert found is not None and found.shared == 200
    assert [f.name for f in findings] == ["agreement"]
    same = [row(r.prompt, "a", "b", 1, annotator=r.annotator) for r in rows]
    mixed = [r if i % 4 > 1 else row(r.prompt, "b", "a", 1, annotator=r.annotator)
             for i, r in enumerate(same)]  # fmt: skip
    assert agreement_of(mixed)[1] == []
    assert agreement_of([row("p", "a", "b")]) == (None, [])
    alone = [row(f"p {i}", "a", "b", i, annotator=f"a{i % 2}") for i in range(1, 9)]
    assert agreement_of(alone) == (None, [])


def test_coverage_is_the_log_probability_of_plain_transformers(tiny_model_dir):
    rows = [row(f"prompt {i}", f"yes, number {i}", "no, never", i + 1) for i in range(4)]
    found = coverage(rows, str(tiny_model_dir))
    assert (found.prompts, found.too_long) == (4, 0)
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    means = []
    for one in rows:
        prompt = tokenizer(f"<s>Human: {one.prompt}\n\nAssistant:", return_tensors="pt").input_ids
        answer = tokenizer(f" {one.chosen}</s>", return_tensors="pt").input_ids
        if prompt[0, 0] == prompt[0, 1]:
            prompt = prompt[:, 1:]
        answer = answer[:, 1:] if answer[0, 0] == tokenizer.bos_token_id else answer
        with torch.no_grad():
            logits = model(torch.cat([prompt, answer], 1)).logits[0, prompt.shape[1] - 1 : -1]
        means.append(logits.log_softmax(-1).gather(1, answer[0, :, None]).mean().item())
    assert found.chosen.value == pytest.approx(sum(means) / 4, abs=1e-4)
    assert found.chosen_gap.value == pytest.approx(found.chosen.value - found.samples.value)


def test_responses_far_from_the_policy_are_a_finding_and_near_ones_are_not(tiny_model_dir):
    prompts = [f"prompt number {i}" for i in range(20)]
    far = [row(p, "qqqq zzzz qqqq zzzz", "no no", i + 1) for i, p in enumerate(prompts)]
    found = coverage(far, str(tiny_model_dir))
    assert [f.name for f in found.findings()] == ["coverage"]
    near = replace(found, chosen_gap=Estimate(-0.6, -0.8, -0.4, 20))
    assert near.findings() == []


def test_a_row_longer_than_the_model_is_left_out_of_the_coverage(tiny_model_dir):
    rows = [row("p", "a", "b", 1), row("q", "word " * 2000, "b", 2), row("r", "a", "", 3)]
    found = coverage(rows, str(tiny_model_dir))
    assert (found.prompts, found.too_long) == (1, 1)
    with pytest.raises(DataError, match="1 do not fit into 512 tokens"):
        coverage(rows[1:2], str(tiny_model_dir))


def test_coverage_turns_a_label_below_a_half(tiny_model_dir):
    one = coverage([row("p", "yes", "no", 1)], str(tiny_model_dir))
    other = coverage([row("p", "no", "yes", 1, label=0.2)], str(tiny_model_dir))
    assert one.chosen.value == pytest.approx(other.chosen.value, abs=1e-5)
    assert one.rejected.value == pytest.approx(other.rejected.value, abs=1e-5)


def test_two_judges_of_the_same_pairs_agree_in_three_of_four(real_data):
    judged = []
    with gzip.open(real_data("multi_gpt4_vs_claude.jsonl.gz"), "rt") as lines:
        for line in lines:
            record = json.loads(line)
            fields = {k: record[k] for k in ("instruction", "output_1", "output_2")}
            for who, vote in record["preferences"].items():
                if record["output_1"] != record["output_2"]:
                    judged.append({**fields, "preference": vote, "annotator": who})
    rows = [named("alpaca_eval_pairs").convert(Place("f", i), r) for i, r in enumerate(judged, 1)]
    found, findings = agreement_of(rows)
    assert found is not None and [f.name for f in findings] == ["agreement"]
    assert found.pairs[0].agreement.value == pytest.approx(0.753, abs=0.005)
    # .501 by the place in which the outputs were shown, .506 by the outputs themselves
    assert found.pairs[0].kappa.value == pytest.approx(0.50, abs=0.01)


@pytest.mark.slow
def test_harmless_dialogues_give_the_same_findings_in_both_spellings(real_data):
    both = [data_check(str(real_data(f"hh_harmless_{name}.jsonl.gz"))) for name in ("raw", "conv")]
    sentences = [[f.sentence for f in found.findings] for found in both]
    assert sentences[0] == sentences[1]
    assert {"unreadable", "empty", "length", "separable"} <= names(both[0])
    preferred = both[0].audit.lengths.characters.preferred
    assert abs(preferred.value - 0.446) <= 0.005
