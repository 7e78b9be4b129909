import base64
import hashlib
import math
import re
from html.parser import HTMLParser

import pytest

from luce.errors import LuceError
from luce.report import write_report

VOID = {"meta", "link", "br", "input", "img", "hr"}


class Page(HTMLParser):
    """Checks nesting while reading, and collects what the tests ask about."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.text, self.scripts = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == [], f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        inside = self.open[-1] if self.open else ""
        (self.scripts if inside == "script" else self.text).append(data)

    def all(self, name):
        return [attrs for tag, attrs in self.tags if tag == name]

    @property
    def words(self):
        return re.sub(r"\s+", " ", "".join(self.text))


def read(folder):
    path = write_report(folder)
    assert path == folder / "report.html"
    return Page(path.read_text("utf-8"))


@pytest.fixture(scope="module")
def page(finished_folder):
    return read(finished_folder)


def test_the_page_loads_nothing_from_anywhere(page, finished_folder):
    text = (finished_folder / "report.html").read_text()
    assert "http://" not in text and "https://" not in text
    assert not page.all("link") and not page.all("img") and not page.all("iframe")
    for _, attrs in page.tags:
        assert "src" not in attrs
        assert attrs.get("href", "#").startswith("#")
        assert attrs.get("xlink:href", "#").startswith("#")
        assert not any(name.startswith("on") for name in attrs)
    assert "@import" not in text and not re.search(r"url\((?!#)", text)


def test_the_policy_forbids_every_script_but_the_pages_own(page):
    (policy,) = [m["content"] for m in page.all("meta") if "http-equiv" in m]
    digest = base64.b64encode(hashlib.sha256("".join(page.scripts).encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy
    assert "unsafe-eval" not in policy and "script-src 'unsafe-inline'" not in policy
    assert len(page.all("script")) == 1


def test_numbers_stand_with_their_intervals_and_n(page):
    words = page.words.replace("\xa0", " ")
    for expected in (
        "71.5 %",
        "66.0–76.8 %",
        "n = 256 prompts",
        "71.0 %",
        "64.4–76.9 %",
        "n = 200 pairs",
        "46.0–50.4",
        "2.80–3.40",
        "20 % from raising chosen",
        "80 % from lowering rejected",
    ):
        assert expected in words, expected


def test_objective_reference_and_reproduction_are_shown(page):
    words = page.words
    assert "Ω(y) = β log π(y|x)/π_ref(y|x)" in words
    assert "Rafailov et al., 2023, equation 7" in words
    assert "the policy as it stood before training" in words
    assert "luce train 'recipes/hh dpo.yaml' train.seed=1" in words


def test_dropped_rows_are_counted_by_reason_and_named_by_place(page):
    words = page.words
    assert "4,0003,79021036412,345" in words  # cells back to back
    assert "too long" in words and "identical pair" in words
    assert "data/pairs.jsonl:17:chosen" in words
    assert "The first 50 of 64 rows" in words


def test_every_figure_table_and_field_can_be_heard(page):
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in page.tags:
        for name in ("aria-labelledby", "for"):
            for target in attrs.get(name, "").split():
                assert target in ids
    for svg in page.all("svg"):
        assert svg["role"] == "img" and ("aria-label" in svg or "aria-labelledby" in svg)
    assert len(page.all("table")) == len(page.all("caption"))
    assert all("scope" in th for th in page.all("th"))
    assert {"header", "nav", "main", "footer"} <= {tag for tag, _ in page.tags}
    assert page.all("html")[0]["lang"] == "en"
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    steps = zip(levels, levels[1:], strict=False)
    assert levels[0] == 1 and all(b - a <= 1 for a, b in steps)


def test_hostile_text_shows_as_text_wherever_it_comes_from(
    write_run, with_manifest, evaluation, make_samples
):
    evil = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}\x00\u202e"
    rows = make_samples(3)
    rows[0] |= {"prompt": evil, "before": evil, "after": evil + "\ud800"}
    evaluation["win_rate"]["annotator"] = evil
    manifest = with_manifest(
        {
            "objective.name": evil,
            "objective.formula": evil,
            "objective.parameters": {evil: evil},
            "data.train.source": evil,
            "versions": {evil: evil},
            "command": [evil],
            "terminator.token": evil,
        }
    )
    ledger = [{"file": evil, "line": 1, "action": evil, "reason": evil, "detail": evil}]
    page = read(
        write_run(
            "<b>run&",
            manifest=manifest,
            sampled=rows,
            evaluation=evaluation,
            ledger=ledger,
            recipe=evil,
        )
    )
    assert len(page.scripts) == 1 and "alert" not in page.scripts[0]
    assert not page.all("img")
    assert page.words.count("<script>alert(1)</script>") > 10
    assert "{{ 7*7 }}␀[U+202E]" in page.words and "49␀" not in page.words
    assert "\x00" not in page.words


@pytest.mark.parametrize("missing", ["evaluation.json", "samples.jsonl", "rows.jsonl"])
def test_a_run_without_a_file_still_has_a_report(run_folder, missing):
    (run_folder / missing).unlink()
    page = read(run_folder)
    assert ("No row was dropped or changed" in page.words) == (missing == "rows.jsonl")
    assert bool(page.scripts) == (missing != "samples.jsonl")


def test_a_manifest_with_nothing_in_it_still_has_a_report(write_run):
    folder = write_run(manifest={}, metrics=[], evaluation=None, sampled=[], ledger=[], recipe=None)
    words = read(folder).words
    assert "The run is not finished: its status is unknown" in words
    assert "no held-out result" in words


def test_null_entries_are_as_good_as_missing_ones(write_run, evaluation, with_manifest):
    nothing = dict.fromkeys(evaluation)
    manifest = with_manifest({"data.eval": None, "model.lora": {"r": 8}, "reference.hash": None})
    assert (
        "None"
        not in read(write_run(evaluation=nothing, manifest=manifest)).words.split("Manifest")[0]
    )


def test_metrics_that_are_not_numbers_are_counted_as_such(write_run):
    rows = [
        {"split": "train", "step": s, "loss": [0.5, math.nan, None, math.inf][s % 4]}
        for s in range(1, 9)
    ]
    words = read(write_run(metrics=rows, evaluation=None)).words
    assert "2 (6 not a number)" in words
    assert "nan" not in words.split("Manifest")[0]


def test_a_reward_model_and_an_sft_run_have_reports_of_their_own(write_run, with_manifest):
    reward = with_manifest({"model.kind": "reward", "objective.name": "bradley_terry"})
    rows = [
        {"split": "train", "step": 1, "loss": 0.6, "rewards/accuracies": 0.5, "rewards/margins": 0}
    ]
    rewards = {"n": 9, "accuracy": 0.8, "accuracy_low": 0.5, "accuracy_high": 0.94}
    page = read(
        write_run("rm", manifest=reward, metrics=rows, evaluation={"held_out": rewards}, sampled=[])
    )
    assert "The reward model scores the chosen response" in page.words
    sft = with_manifest({"objective.name": "sft", "objective.structure": "demonstration"})
    rows = [{"split": "eval", "step": s, "n": 4, "eval_nll": 2.0 - s} for s in (0, 1)]
    page = read(write_run("sft", manifest=sft, metrics=rows, evaluation={}))
    assert "negative log-likelihood of held-out responses fell" in page.words
    assert "demonstrations" in page.words


def test_slices_are_shown_where_there_is_more_than_one(write_run, evaluation):
    part = {"n": 100, "accuracy": 0.6, "accuracy_low": 0.5, "accuracy_high": 0.69}
    evaluation["held_out"] |= {"by_source": {"hh": part, "": part}, "by_annotator": {"a": part}}
    words = read(write_run(evaluation=evaluation)).words
    assert "Held-out accuracy by source" in words and "not named" in words
    assert "Held-out accuracy by annotator" not in words


def test_grades_of_a_known_reward_are_shown_part_by_part(write_run, evaluation):
    grade = {"mean": 0.25, "low": 0.125, "high": 0.375, "n": 40}
    evaluation["gold"] = {
        "before": {"polite": grade},
        "after": {"polite": {**grade, "mean": 0.75}, "else": grade},
    }
    words = read(write_run(evaluation=evaluation)).words
    assert "polite0.2500.125–0.3750.7500.125–0.37540" in words
    assert "else" not in words.split("Objective")[1].split("Curves")[0]


def test_a_long_run_with_long_samples_stays_below_a_megabyte_and_a_half(
    write_run, make_samples, make_metrics
):
    long = [{**row, "after": "ö<" * 6000, "before": "&" * 9000} for row in make_samples(400)]
    folder = write_run(metrics=make_metrics(4_000, every=2), sampled=long)
    page = read(folder)
    assert (folder / "report.html").stat().st_size < 1_500_000
    assert "more characters]" in page.words
    assert re.search(r"\d+ samples shown; \d+ more in samples.jsonl", page.words)


def test_the_same_folder_gives_the_same_page(run_folder):
    once = write_report(run_folder).read_bytes()
    assert write_report(run_folder).read_bytes() == once


def test_a_folder_that_is_no_run_gets_no_page(tmp_path):
    with pytest.raises(LuceError):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []
