"""Formulas in LaTeX: nothing lost, nothing that a typesetter refuses."""

import re

import pytest
from matplotlib.mathtext import MathTextParser

from luce.errors import LuceError
from luce.objectives.cards import TABLES, card
from luce.objectives.latex import SIGNS, to_latex

EVERYTHING = [f"{kind}/{name}" for kind, table in TABLES.items() for name in table]


@pytest.mark.parametrize("what", EVERYTHING)
def test_every_formula_is_set(what):
    """matplotlib's typesetter takes it, so do stricter ones: ASCII, brackets in pairs."""
    latex = card(what).latex
    assert latex and latex.isascii()
    MathTextParser("path").parse(f"${latex}$")
    bare = re.sub(r"\\[{}]", "", latex)
    for left, right in ("{}", "()", "[]"):
        assert bare.count(left) == bare.count(right), latex


@pytest.mark.parametrize("what", EVERYTHING)
def test_no_number_or_word_of_a_formula_is_lost(what):
    shown = card(what)
    for number in re.findall(r"\d+\.\d+", shown.formula):
        assert number in shown.latex
    for word in re.findall(r"[A-Za-z]{2,}", shown.formula.replace("1e−5", "")):
        assert word in shown.latex, word


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("−log σ(z)", r"-\log \sigma (z)"),
        ("(1 − z)²", r"(1 - z)^{2}"),
        ("π/π_ref", r"\frac{\pi }{\pi_{\mathrm{ref}}}"),
        ("(π_ref/π)^0.5", r"(\frac{\pi_{\mathrm{ref}}}{\pi })^{0.5}"),
        ("1e−5·log π", r"10^{-5} \cdot \log \pi"),
        ("2e3", r"2 \cdot 10^{3}"),
        ("π^(1/|y|)", r"\pi ^{1/|y|}"),
        ("π^(−0.25/|y|)", r"\pi ^{-0.25/|y|}"),
        ("Σ_(R_i > R_j) max(0, b)", r"\sum _{R_{i} > R_{j}}\, \max (0,\, b)"),
        ("log π(reference sample)", r"\log \pi (\text{reference sample})"),
        ("sg KL", r"\mathrm{sg}\, \mathrm{KL}"),
    ],
)
def test_values(formula, expected):
    assert to_latex(formula) == expected


def test_a_sign_without_latex_is_an_error():
    with pytest.raises(LuceError, match="'☃' in '1 ☃' has no LaTeX"):
        to_latex("1 ☃")


def test_nothing_to_raise_to_is_an_error():
    with pytest.raises(LuceError, match="nothing after"):
        to_latex("z^")


def test_signs_are_single_and_stand_for_ascii():
    assert all(len(sign) == 1 and latex.isascii() for sign, latex in SIGNS.items())


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("x_ab", "x_{ab}"),
        ("x_abc", r"x_{\mathrm{abc}}"),
        ("grade of y", r"\text{grade of}\ y"),
        ("grade of a pair", r"\text{grade of a pair}"),
        ("grade of log x", r"\text{grade of}\ \log x"),
        ("y tokens z", r"y \ \mathrm{tokens}\ z"),
        ("1 − length + 2", r"1 - \mathrm{length} + 2"),
        ("−y tokens", r"-y \ \mathrm{tokens}"),
        ("y of, z", r"y \ \mathrm{of},\, z"),
    ],
)
def test_words_are_set_upright_with_space_beside_what_brings_none(formula, expected):
    assert to_latex(formula) == expected
