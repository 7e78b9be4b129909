"""Pairs, and which of them a round takes."""

from functools import partial
from pathlib import Path

import pytest

from benchmarks import corpora
from benchmarks.corpora import END, Pair


def pair(prompt: int, chosen: int, rejected: int) -> Pair:
    return Pair((1,) * prompt, (2,) * chosen, (3,) * rejected)


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LUCE_DATA", str(tmp_path))


@pytest.mark.parametrize("name", ["hh", "alpaca"])
def test_without_the_published_rows_lengths_are_like_theirs(no_data: None, name: str) -> None:
    pairs = corpora.load(name, 1000)
    (prompt, _), (chosen, _), (rejected, _) = corpora.LENGTHS[name]
    middle = len(pairs) // 2
    for expected, lengths in (
        (prompt, [len(p.prompt) for p in pairs]),
        (chosen, [len(p.chosen) - 1 for p in pairs]),
        (rejected, [len(p.rejected) - 1 for p in pairs]),
    ):
        assert sorted(lengths)[middle] == pytest.approx(expected, rel=0.15)
    assert "synthetic" in corpora.source(name)


def test_pairs_fit_length_and_vocabulary_and_keep_a_token_of_each_response(no_data: None) -> None:
    pairs = corpora.load("hh", 500)
    ids = {i for p in pairs for part in (p.prompt, p.chosen, p.rejected) for i in part}
    assert min(ids) >= 0 and max(ids) < 500
    assert max(p.width for p in pairs) <= corpora.MAX_LENGTH
    assert all(p.prompt and p.chosen and p.rejected for p in pairs)
    assert all(p.chosen[-1] == END for p in pairs if p.width < corpora.MAX_LENGTH)


def test_published_rows_are_the_same_for_a_seed(real_data) -> None:
    real_data("hh_harmless_raw.jsonl.gz")
    folder = real_data("alpaca_eval2_pairs.jsonl.gz").parent
    rows = list(corpora.texts("hh", folder))
    assert len(rows) > 1700
    prompt, chosen, rejected = rows[0]
    assert prompt.endswith("\n\nAssistant:") and chosen != rejected


def test_rounds_take_batches_from_little_padding_to_much() -> None:
    pairs = [pair(10, 5, 5 + extra) for extra in range(0, 40, 2)]
    found = corpora.batches(pairs, 2, 5)
    padding = [corpora._padding(batch) for batch in found]
    assert padding == sorted(padding) and len({id(b) for b in found}) == 5
    # 2 pairs of widths 15 and 17: 4 · 17 tokens are run, 10+5+5−2 and 10+5+7−2 are needed
    assert corpora._padding([pair(10, 5, 5), pair(10, 5, 7)]) == pytest.approx(68 / 38)


def test_grouped_batches_hold_pairs_of_like_length() -> None:
    pairs = [pair(3, 1 + i * 7 % 40, 2) for i in range(40)]
    for batch in corpora.grouped_batches(pairs, 4, 5):
        widths = [p.width for p in batch]
        assert max(widths) - min(widths) <= 4


def test_too_few_pairs_for_the_rounds_are_named() -> None:
    with pytest.raises(SystemExit, match="1 batches .* 3 rounds"):
        corpora.batches([pair(1, 1, 1)] * 2, 2, 3)


def test_both_sides_get_the_same_ids() -> None:
    one = Pair((1, 2), (3, 0), (4, 5, 0))
    group, example = corpora.as_group(one), corpora.as_example(one)
    assert group.prompt.tolist() == example["prompt_ids"]
    assert [b.ids.tolist() for b in group.branches] == [
        example["chosen_ids"],
        example["rejected_ids"],
    ]
    assert one.shared == 2 + 1 + 2 and one.scored == 5 and one.width == 5


def test_synthetic_texts_are_about_as_long_as_their_ids(
    no_data: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(corpora, "synthetic", partial(corpora.synthetic, count=150))
    bpe = corpora.tokenizer(None, 6000)
    assert bpe.get_vocab_size() <= 6000 and bpe.token_to_id(corpora.END_TEXT) == END
    row = next(corpora.shuffled_texts("alpaca", None))
    for text, ids in zip(row, next(corpora.synthetic("alpaca")), strict=True):
        assert len(ids) <= len(bpe.encode(text).ids) < 1.2 * len(ids)
