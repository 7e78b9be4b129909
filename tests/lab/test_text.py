"""Small language models as annotators: the transformer against sums over all texts, the corpus
against sentences by hand, and the two experiments with an error planted."""

import gzip
import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from luce.cli.main import run
from luce.errors import LuceError
from luce.lab import load, matched_scores, pbde_fig6, text_annotators, text_corpus
from luce.lab.text_annotators import EQ_9, EQ_26, LUCE, Plan, adapt, prepare
from luce.lab.text_corpus import Corpus, corpus, made_sentences, sentences_of
from luce.lab.text_model import END, Size, TextModel, Texts, batches, imitate
from luce.lab.write import plain
from luce.types import Responses

TINY = Plan(width=16, whole=150, narrow=120, pairs=1024, batch=32, rate=4e-4, samples=512)


def failed(result):
    return [check.what for check in result.checks if not check.passed]


def every_text(words, longest):
    """All texts of words 1 … `words` that end within `longest` tokens."""
    rows = [
        (*body, *[END] * (longest - len(body)))
        for size in range(longest)
        for body in itertools.product(range(1, words + 1), repeat=size)
    ]
    ids = torch.tensor(rows)
    return Texts(ids, (ids != END).sum(1) + 1)


@pytest.fixture(scope="module")
def sharp():
    """A model of three words whose end is neither rare nor certain."""
    model = TextModel(Size(4, longest=4, width=8), seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
        model.end.copy_(torch.tensor([-8.0, 2.0, -1.0, 0.5]))
    return model


def test_texts_that_end_and_the_mass_that_does_not_make_one(sharp):
    """Mass of unfinished texts: their words' probability without the end, by the chain rule."""
    texts = every_text(3, 4)
    ended = sharp.all_responses(texts).log_prob.exp().sum().item()
    bodies = torch.tensor(list(itertools.product((1, 2, 3), repeat=4)))
    going = Texts(bodies, torch.full((len(bodies),), 4))
    unfinished = sharp.all_responses(going).log_prob.exp().sum().item()
    assert ended + unfinished == pytest.approx(1.0, abs=1e-5)
    assert 0.2 < ended < 0.95


def test_samples_are_as_frequent_as_the_model_says(sharp):
    """Drawn token by token with remembered keys; π of a whole text at once."""
    texts = every_text(3, 4)
    p = sharp.all_responses(texts).log_prob.double().exp()
    p = p / p.sum()
    drawn = sharp.sample(20_000, torch.Generator().manual_seed(0))
    base = torch.tensor([64, 16, 4, 1])
    codes = (texts.ids * base).sum(1)
    counts = torch.bincount((drawn.ids * base).sum(1), minlength=256)[codes].double()
    assert counts.sum() == 20_000
    seen = p > 5e-4
    chi2 = ((counts - 20_000 * p) ** 2 / (20_000 * p))[seen].sum().item()
    assert chi2 < int(seen.sum()) + 5 * math.sqrt(2 * int(seen.sum()))
    assert torch.equal(drawn.lengths, (drawn.ids != END).sum(1) + 1)


def test_a_token_sees_what_stands_before_it_only(sharp):
    texts = Texts(torch.tensor([[1, 2, 3, 0], [1, 2, 1, 0], [3, 0, 0, 0]]), torch.tensor([4, 4, 2]))
    y = sharp.all_responses(texts)
    assert y.policy[:2].tolist() == pytest.approx(y.policy[4:6].tolist())
    assert y.policy[2].item() != pytest.approx(y.policy[6].item())
    alone = sharp.all_responses(texts.take(torch.tensor([2])))
    assert alone.policy.tolist() == pytest.approx(y.policy[8:].tolist(), rel=1e-4)


def test_the_bias_of_the_end_adds_up_along_the_text(sharp):
    """Odds of the end against a word at position t: e^(c_1 + … + c_t) times as high."""
    plain_model = sharp.copy()
    with torch.no_grad():
        plain_model.end.zero_()

    def odds(model, t):
        ids = torch.tensor([[1] * 4, [1] * t + [END] * (4 - t)])
        y = model.all_responses(Texts(ids, torch.tensor([t + 1, t + 1])))
        return (y.policy[2 * t + 1] - y.policy[t]).item()

    for t in range(4):
        grown = odds(sharp, t) - odds(plain_model, t)
        assert grown == pytest.approx(sharp.end[: t + 1].sum().item(), abs=1e-4)


def test_imitation_learns_when_texts_end():
    ids = torch.tensor([[1, 2, 0, 0], [2, 1, 0, 0]])
    model = TextModel(Size(3, longest=4, width=8), seed=0)
    losses = imitate(model, Texts(ids, torch.tensor([3, 3])), 120, 3e-3, seed=0)
    assert losses[-1] < 0.35 < losses[0]  # ln 2 / 3 = 0.231 is the least
    drawn = model.sample(400, torch.Generator().manual_seed(0))
    assert (drawn.lengths == 3).double().mean() > 0.95


def test_a_model_that_does_not_end_is_named():
    model = TextModel(Size(3, longest=4, width=8), seed=0)
    with torch.no_grad():
        model.end.fill_(-20.0)
    with pytest.raises(LuceError, match="has not learnt to end"):
        model.sample(10, torch.Generator().manual_seed(0))


def test_batches_go_through_everything_before_anything_again():
    drawn = torch.cat(list(batches(10, 4, 5, seed=0)))
    assert sorted(drawn[:10].tolist()) == sorted(drawn[10:].tolist()) == list(range(10))


def test_sentences_are_found_in_text_and_in_json_lines(tmp_path):
    text = tmp_path / "book.txt"
    text.write_text(
        "One day it rained. no capital. Yes! Was it, well, a well-known dog's? 12 dogs."
    )
    lines = tmp_path / "rows.jsonl.gz"
    row = {"prompt": "Say it", "turns": [{"text": "He came late. She did 3 things."}], "n": 1}
    lines.write_bytes(gzip.compress(json.dumps(row).encode() + b"\n"))
    found = sentences_of([text, lines, text])
    assert found == ["One day it rained", "Was it, well, a well-known dog's", "He came late"]


def test_a_corpus_keeps_lengths_and_has_at_most_so_many_of_each(monkeypatch):
    monkeypatch.setattr(text_corpus, "LEAST", 10)
    monkeypatch.setattr(text_corpus, "MOST", 20)
    made = corpus(made_sentences(3000, seed=1), "here")
    counts = torch.bincount(made.texts.lengths, minlength=33)
    assert counts.max() == 20 and counts[33:].sum() == 0
    assert torch.equal(made.texts.lengths, (made.texts.ids != END).sum(1) + 1)
    assert made.texts.ids.max() == made.vocabulary - 1
    assert sum(made.shares()) == pytest.approx(1.0)


def test_too_little_text_is_an_error_that_counts():
    with pytest.raises(LuceError, match=r"novel.txt: 2 sentences have 16 tokens or fewer, 0 have"):
        corpus(["He came", "She went"], "novel.txt")
    with pytest.raises(LuceError, match="give more text"):
        corpus([], "novel.txt")


def test_the_grammar_is_the_same_for_a_seed_and_its_sentences_are_sentences(tmp_path):
    made = made_sentences(300, seed=3)
    assert made == made_sentences(300, seed=3) != made_sentences(300, seed=4)
    assert len(set(made)) == len(made)
    file = tmp_path / "made.txt"
    file.write_text("\n".join(f"{text}." for text in made))
    assert sentences_of([file]) == made


def two():
    """A pair of texts of 2 and 4 tokens, as two models see it."""
    lengths = torch.tensor([2, 4])
    short = Responses(torch.tensor([-1.0, -2.0, -1.0, -1.0, -1.0, -2.5]), lengths)
    long = Responses(torch.tensor([-2.0, -4.0, -1.0, -1.0, -1.0, -0.5]), lengths)
    return short, long


def test_the_rules_are_those_of_the_equations_with_the_factor():
    """short: log p -3, -5.5, per token -1.5, -1.375; long: -6, -3.5, and -3, -0.875."""
    short, long = two()

    def sigma(z):
        return 1 / (1 + math.exp(-z))

    by_hand = {EQ_9: (2.5, -2.5), EQ_26: (32 * -0.125, 32 * -2.125)}
    for rule, z in by_hand.items():
        for y, margin in zip((short, long), z, strict=True):
            found = text_annotators.preferred(LUCE[rule], y).item()
            assert found == pytest.approx(sigma(margin), rel=1e-4)
    start = text_annotators.Start(TINY, 0, {}, Texts(torch.zeros(2, 4, dtype=torch.int64),
                                                     short.lengths),
                                  {"short": short, "long": long})  # fmt: skip
    mean = (sigma(-4.0) + sigma(32 * -2.125)) / 2
    assert text_annotators.annotator_mixture(start).item() == pytest.approx(mean, rel=1e-4)
    log_mix = [math.log((math.exp(a) + math.exp(b)) / 2) for a, b in ((-3, -6), (-5.5, -3.5))]
    one = sigma(32 * (log_mix[0] / 2 - log_mix[1] / 4))
    assert text_annotators.density_mixture(start).item() == pytest.approx(one, rel=1e-3)


@pytest.fixture(scope="module")
def made_up():
    """A corpus of 24 words in no order, some texts plain and others not."""
    draw = torch.Generator().manual_seed(0)
    lengths = torch.randint(4, 33, (3000,), generator=draw)
    plainness = torch.tensor([1.0, 2.0, 4.0])[torch.randint(0, 3, (3000, 1), generator=draw)]
    words = 1 + (24 * torch.rand(3000, 32, generator=draw) ** plainness).long()
    ids = torch.where(torch.arange(32) < lengths[:, None] - 1, words, END)
    return Corpus(Texts(ids, lengths), 25, "a made-up corpus")


@pytest.fixture(scope="module")
def start(made_up):
    with text_annotators.one_thread():
        return prepare(0, TINY, made_up)


def test_adaptation_moves_a_copy_towards_the_annotator(start):
    before = {name: p.clone() for name, p in start.models["whole"].named_parameters()}
    everything = torch.ones(TINY.pairs)
    n = start.drawn.lengths
    shorter = (n[: TINY.pairs] < n[TINY.pairs :]).float()
    found = adapt(start, shorter, LUCE[EQ_9]), adapt(start, 1 - shorter, LUCE[EQ_9])
    means = [one.lengths.double().mean().item() for one in found]
    assert means[0] < n.double().mean() < means[1]
    assert found[1].after < found[1].before
    assert len(adapt(start, everything, LUCE[EQ_26]).lengths) == TINY.samples
    for name, parameter in start.models["whole"].named_parameters():
        assert torch.equal(parameter, before[name])


def test_matched_scores_follow_the_annotator_and_labels_by_the_other_rule_do_not(
    start, monkeypatch
):
    """One tiny seed; then every label is drawn by the other rule, and the checks see it."""
    whole = start.drawn.lengths.double().mean().repeat(3)

    def checks():
        with text_annotators.one_thread():
            found = matched_scores.mean_lengths(start)
        means = {arm: torch.tensor([found[arm]] * 3).double() for arm in found}
        checked = matched_scores._checks(means, whole, quick=True, strict=False)
        return {check.what for check in checked if not check.passed}

    # with two layers of 16 the end that mismatched scores go to is not as far
    assert checks() <= {"short: labels by eq. 26, score eq. 9"}
    right = text_annotators.preferred
    other = {id(LUCE[EQ_9]): LUCE[EQ_26], id(LUCE[EQ_26]): LUCE[EQ_9]}
    monkeypatch.setattr(matched_scores, "preferred", lambda rule, y: right(other[id(rule)], y))
    seen = checks()
    assert "long: labels by eq. 9, score eq. 26" in seen
    assert "short: labels by eq. 9, score eq. 9, less `whole`" in seen and len(seen) >= 4


def test_two_annotators_leave_the_middle_and_one_density_does_not(start, monkeypatch):
    """One tiny seed thrice; then both data sets come of the density mixture."""

    def checks():
        with text_annotators.one_thread():
            found = [pbde_fig6.measure(start)] * 3
        checked = pbde_fig6._checks(found, pbde_fig6.SMALL)
        return {check.what for check in checked if not check.passed}, found

    named, found = checks()
    # `long` of this size is not sure enough of what it writes
    assert named <= {"long, eq. 9: P(M ≻ L)", "`long` writes L"}
    assert found[0].lengths["whole"].sum() == pytest.approx(1.0)
    monkeypatch.setattr(pbde_fig6, "annotator_mixture", text_annotators.density_mixture)
    named, _ = checks()
    assert "M: annotator mixture / density mixture" in named


def test_as_printed_or_by_log_p_the_table_is_another(start, monkeypatch):
    table = pbde_fig6.preferences(start)
    assert table["long", EQ_26, "S ≻ L"] < 0.5 < 0.9 < table["long", EQ_9, "S ≻ L"]
    printed = [p for key, p in table.items() if key[1] == pbde_fig6.PRINTED]
    assert max(abs(p - 0.5) for p in printed) < 0.35
    monkeypatch.setattr(pbde_fig6, "RULES", {EQ_26: LUCE[EQ_9], EQ_9: LUCE[EQ_26]})
    assert pbde_fig6.preferences(start)["long", EQ_26, "S ≻ L"] > 0.9


@pytest.mark.parametrize("module", [pbde_fig6, matched_scores])
def test_an_experiment_runs_on_given_sentences_and_leaves_figure_and_tables(
    module, monkeypatch, tmp_path, made_up
):
    few = replace(TINY, whole=40, narrow=20, pairs=64, samples=64)
    monkeypatch.setattr(module, "QUICK", few)
    monkeypatch.setattr(module, "corpus", lambda sentences, origin: made_up)
    result = module.EXPERIMENT.on_text(2, True, ["He came"])
    assert set(result.figures) == {"lengths"}
    json.dumps(plain(module.EXPERIMENT, result, 2, True), allow_nan=False)


def test_text_is_for_experiments_on_text(tmp_path, capsys):
    file = tmp_path / "a.txt"
    file.write_text("He came. She went.")
    assert run(["lab", "gpo-losses", "--text", str(file)]) == 2
    assert "is not about text" in capsys.readouterr().err
    assert run(["lab", "pbde-fig6", "--text", str(file)]) == 2
    assert "give more text" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pbde-fig6", "pbde-matched-scores"])
def test_every_check_holds_in_the_quick_run(name):
    experiment = load(name)
    assert failed(experiment.run(experiment.quick_seeds, True)) == []


@pytest.mark.slow
def test_every_check_holds_on_real_text(real_data):
    sentences = sentences_of([Path(real_data("corpus.jsonl.gz"))])
    for name in ("pbde-fig6", "pbde-matched-scores"):
        on_text = load(name).on_text
        assert on_text is not None and failed(on_text(3, False, sentences)) == []
