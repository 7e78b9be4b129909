"""How formulas are put together, and the formula of every preset at its defaults."""

import math

import pytest

from luce.objectives import OBJECTIVES
from luce.objectives.check import number
from luce.objectives.writing import bare, bracket, is_sum, negative, tidy, top_level, total


def difference(score):
    return f"[{score}(chosen) − {score}(rejected)]"


PI, RATIO = difference("log π"), difference("log π/π_ref")
MEAN, MEAN_RATIO = difference("(log π/|y|)"), difference("((log π/π_ref)/|y|)")
BOX_COX = difference("((1 − π^(−0.25/|y|))/0.25)")
ITERATE = difference("(log π − (1/3)·log π_ref − (2/3)·log π_t)")
W, L = "log π/π_ref(chosen)", "log π/π_ref(rejected)"
FORMULAS = {
    "dpo": f"−log σ(0.1·{RATIO})",
    "cdpo": f"0.9·(−log σ(0.1·{RATIO})) + 0.1·(−log σ(−0.1·{RATIO}))",
    "robust_dpo": f"[0.9·(−log σ(0.1·{RATIO})) − 0.1·(−log σ(−0.1·{RATIO}))]/0.8",
    "gdpo": f"−log σ((2p − 1)·0.1·{RATIO})",
    "exo": f"KL([q, 1 − q] ‖ [1 − 0.001, 0.001]); q = σ(0.1·{RATIO})",
    "dpo_nll": f"−log σ(0.1·{RATIO}) − log π(chosen)/|chosen|",
    "dpop": f"−log σ(0.3·{RATIO} − 15·max(0, −{W}))",
    "odpo": f"−log σ(0.1·{RATIO} − log[score(chosen) − score(rejected)])",
    "modpo": f"−log σ(0.2·{RATIO} − [score(chosen) − score(rejected)])",
    "rebel": f"({RATIO} − [score(chosen) − score(rejected)])²",
    "wpo": f"min(1, w(chosen)·w(rejected))·(−log σ(0.01·{RATIO}))",
    "xpo": f"−log σ(0.1·{RATIO}) + 1e−5·log π(reference sample)",
    "inpo": f"10000·(1 − 0.01·{ITERATE})²",
    "discopop": f"(1 − m)·(−log σ(0.05·{RATIO})) + m·exp(−0.05·{RATIO}), m = σ(0.05·{RATIO}/0.05)",
    "chipo": f"−log σ(clip(0.1·{difference('(π/π_ref + log π/π_ref)')}, ±2))",
    "fdpo": f"−log σ(0.1·{difference('((1 − (π_ref/π)^0.5)/0.5)')})",
    "ipo": f"25·(1 − 0.2·{RATIO})²",
    "gpo_hinge": f"max(0, 1 − 0.1·{RATIO})",
    "gpo_square": f"(1 − 0.1·{RATIO})²",
    "gpo_exponential": f"exp(−0.1·{RATIO})",
    "gpo_truncated_quadratic": f"max(0, 1 − 0.1·{RATIO})²",
    "gpo_savage": f"1/(1 + exp(0.1·{RATIO}))²",
    "rso_hinge": f"max(0, 1 − 0.05·{RATIO})",
    "rso_sigmoid": f"−log σ(0.05·{RATIO})",
    "luce": f"−log σ({PI[1:-1]})",
    "luce_length_normalized": f"−log σ({MEAN[1:-1]})",
    "pbde_geometric": f"−log σ({difference('((log π/π_ref)/0.25 + log π_ref)')[1:-1]})",
    "simpo": f"−log σ(2·{MEAN} − 1)",
    "slic": f"max(0, 1 − {PI}) − 0.1·log π(chosen)",
    "orpo": f"0.1·(−log σ({difference('logit(π^(1/|y|))')[1:-1]})) − log π(chosen)/|chosen|",
    "cpo": f"−log σ(0.1·{PI}) − log π(chosen)/|chosen|",
    "alphapo": f"−log σ(2.5·{BOX_COX} − 0.25)",
    "simper": f"−{difference('π^(1/|y|)')}",
    "ln_dpo": f"−log σ(5·{MEAN_RATIO})",
    "rdpo": f"−log σ({difference('(0.1·log π/π_ref + 0.01·|y|)')[1:-1]})",
    "ld_dpo": f"−log σ(0.1·{difference('(head + 0.5·tail of log π/π_ref)')})",
    "sampo": f"−log σ(0.1·{RATIO}); over min(|chosen|, |rejected|) random tokens of each, seed 0",
    "tdpo1": f"−log σ(0.1·{difference('(log π/π_ref + Σ KL(π_ref‖π))')})",
    "tdpo2": f"−log σ(0.1·{RATIO} − 0.05·[Σ KL(rejected) − sg Σ KL(chosen)])",
    "kto": "desirable: 1 − σ(0.1·log π/π_ref(y) − z₀); undesirable: 1 − σ(z₀ − 0.1·log π/π_ref(y));"
    " z₀ = 0.1·max(0, KL)",
    "bco": "desirable: −log σ(0.1·log π/π_ref(y) − z₀); undesirable: −log σ(z₀ − 0.1·log π/π_ref(y)"
    "); z₀ = δ",
    "nca": f"−log σ(0.01·{W}) − 0.5·log σ(−0.01·{W}) − 0.5·log σ(−0.01·{L})",
    "sppo": f"½·({W} − 500)² + ½·({L} + 500)²",
    "apo_zero": f"1 − σ(0.1·{W}) + 1 − σ(−0.1·{L})",
    "apo_down": f"σ(−0.1·{RATIO}) + σ(0.1·{W})",
    "cal_dpo": f"−log σ({RATIO[1:-1]}) + ½·({W} − 250)² + ½·({L} + 250)²",
    "mpo": f"−0.8·log σ(0.1·{RATIO}) + 0.2·[−log σ(0.1·{W} − z₀) − log σ(z₀ − 0.1·{L})] "
    "− (log π/|y|)(chosen); z₀ = δ",
    "rrhf": "Σ_(R_i > R_j) max(0, (log π/|y|)(j) − (log π/|y|)(i)) − log π(best)/|best|",
    "plackett_luce": "−Σ_k log softmax_(rank ≥ k) 0.1·log π/π_ref",
    "infonca": "−Σ softmax(R/0.01)·log softmax(0.01·log π/π_ref)",
    "nca_list": "−Σ [softmax(R/0.01)·log σ(0.01·log π/π_ref) + log σ(−0.01·log π/π_ref)/K]",
    "lipo": "Σ_(R_i > R_j) Δ_ij·log(1 + exp(0.05·log π/π_ref(j) − 0.05·log π/π_ref(i))), ψ = score",
    "exo_rw": "KL(softmax(0.1·log π/π_ref) ‖ softmax(R/0.1))",
    "dpo_rw": "KL(softmax(R/0.1) ‖ softmax(0.1·log π/π_ref))",
    "aot": f"−log σ(0.1·{PI} − 0.1·{difference('log π_ref')} of the same rank)",
    "aot_unpaired": f"−log σ(0.1·{RATIO}); over chosen and rejected of the batch, each sorted",
    "dr_dpo": f"−log mean exp(log σ(0.1·{RATIO}))",
    "beta_dpo": f"kept·(−log σ((1 + 0.6·[mean M − M₀])·0.1·{RATIO})); 0.8 of the pairs are kept, "
    "drawn by N(M | M₀, σ²), M the margins",
    "alpha_dpo": f"−log σ(2.5·{MEAN} − 2.5·(0.6 + 0.2·z-score{MEAN_RATIO}))",
    "mixture": f"−log[0.5·σ({difference('log π_1')[1:-1]}) + 0.5·σ({difference('log π_2')[1:-1]})]",
    "sft": "−log π(y)/|y|, weighted by |y|",
    "nll": "−log π(y)",
    "bradley_terry": "−log σ([r(chosen) − r(rejected)] − margin)",
}


def test_every_preset_has_its_formula_here():
    assert OBJECTIVES.keys() == FORMULAS.keys()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_formula_prints_the_numbers_that_run(name):
    assert OBJECTIVES[name]().formula == FORMULAS[name]


# --- the pieces -----------------------------------------------------------------------------------

NEGATIVES = {
    "a": "−a",
    "−a": "a",
    "−(a − b)": "(a − b)",
    "a − b": "b − a",
    "[a − b]": "−[a − b]",
    "a + b": "−(a + b)",
    "−a − b": "−(−a − b)",
    "a − b − c": "−(a − b − c)",
    "{a − b} − (c + d)": "(c + d) − {a − b}",
}


@pytest.mark.parametrize("text", NEGATIVES)
def test_negatives(text):
    assert negative(text) == NEGATIVES[text]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a", False),
        ("−a", True),
        ("a − b", True),
        ("a + b", True),
        ("[a − b]", False),
        ("(a − b)·{c + d}", False),
        ("[a] − [b]", True),
        ("a·(b − c) + d", True),
        ("(a−b)", False),
        ("a−b", False),
    ],
)
def test_sums_and_their_brackets(text, found):
    assert is_sum(text) == found
    assert bracket(text) == (f"({text})" if found else text)


def test_where_no_bracket_holds():
    assert list(top_level("a(b[c]{d})e")) == [0, 9, 10]
    assert list(top_level("")) == [] and list(top_level("ab")) == [0, 1]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[a − b]", "a − b"),
        ("(a)", "a"),
        ("{a}", "a"),
        ("[a] − [b]", "[a] − [b]"),
        ("a", "a"),
        ("", ""),
        ("(a)b", "(a)b"),
    ],
)
def test_what_a_bracket_holds_whole(text, found):
    assert bare(text) == found


@pytest.mark.parametrize(
    ("terms", "found"),
    [
        (["a", "b"], "a + b"),
        (["a", "−b", "c"], "a − b + c"),
        (["a", "[−b]"], "a − b"),
        (["a", "0.5·[−b·c]"], "a − 0.5·b·c"),
        (["a", "0.5·[−b − c]"], "a + 0.5·[−b − c]"),
        (["a", "[b − c]"], "a + [b − c]"),
        (["a; x = 1", "b; y = 2", "c; x = 1"], "a + b + c; x = 1; y = 2"),
        (["a"], "a"),
    ],
)
def test_totals(terms, found):
    assert total(terms) == found
    assert total(iter(terms)) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("([a − b])", "(a − b)"),
        ("[(a)]", "[a]"),
        ("f([(a)])", "f(a)"),
        ("([a] − [b])", "([a] − [b])"),
        ("((a)(b))", "((a)(b))"),
        ("[a]", "[a]"),
        ("(", "("),
        ("{[a]} + ((b))", "{a} + (b)"),
    ],
)
def test_no_bracket_directly_inside_another(text, found):
    assert tidy(text) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (0.1, "0.1"),
        (-2.0, "−2"),
        (0.0, "0"),
        (1 / 3, "(1/3)"),
        (-2 / 7, "(−2/7)"),
        (0.333, "0.333"),
        (1e-5, "1e−5"),
        (1e-10, "1e−10"),
        (2.5e20, "2.5e20"),
        (0.123456789012345, "0.123456789012"),
        (1 / 13, "0.0769230769231"),
        (10000.0, "10000"),
        (math.inf, "inf"),
    ],
)
def test_numbers(value, found):
    assert number(value) == found
