"""Formulas in LaTeX: the same text, sign by sign."""

import re

from luce.errors import LuceError
from luce.objectives.writing import CLOSING

SIGNS = {
    "π": r"\pi ", "σ": r"\sigma ", "φ": r"\phi ", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ",
    "δ": r"\delta ", "Δ": r"\Delta ", "ε": r"\epsilon ", "η": r"\eta ", "κ": r"\kappa ",
    "λ": r"\lambda ", "μ": r"\mu ", "ρ": r"\rho ", "τ": r"\tau ", "χ": r"\chi ", "ψ": r"\psi ",
    "Ω": r"\Omega ", "Φ": r"\Phi ", "Σ": r"\sum ", "−": "-", "·": r" \cdot ", "×": r" \times ",
    "±": r"\pm ", "≥": r" \geq ", "≤": r" \leq ", "≻": r" \succ ", "‖": r" \,\Vert\, ",
    "∞": r"\infty ", "½": r"\frac{1}{2}", "′": "'", "²": "^{2}", "…": r"\ldots ",
    "₀": "_{0}", "₁": "_{1}", "₂": "_{2}", "₃": "_{3}", ";": r";\; ", ",": r",\, ", " ": " ",
    "|": "|", "+": "+", "-": "-", "=": "=", "<": "<", ">": ">", "/": "/", ".": ".", ":": r":\; ",
    "(": "(", ")": ")", "[": "[", "]": "]", "'": "'",
}  # fmt: skip
"""Sign → LaTeX. A sign that is not here is an error, so that none is lost."""

FUNCTIONS = ("log", "exp", "max", "min")
NAMED = ("softmax", "clip", "logit", "sg", "KL", "mean")
RATIOS = {"π/π_ref": (r"\pi ", r"\pi_{\mathrm{ref}}"), "π_ref/π": (r"\pi_{\mathrm{ref}}", r"\pi ")}

APART = "−+·×=<>≥≤‖;,:±"
"""Signs that bring their own space."""


def to_latex(formula: str) -> str:
    """A formula of this package in LaTeX: ASCII only, to stand between dollar signs.

    >>> to_latex("−log σ(2·[log π/π_ref(chosen) − 1])")
    '-\\\\log \\\\sigma (2 \\\\cdot [\\\\log \\\\frac{\\\\pi }{\\\\pi_{\\\\mathrm{ref}}}(\\\\mathrm{chosen}) - 1])'

    Raises:
        LuceError: the formula has a sign that is not in the table.
    """  # noqa: E501
    out, i = [], 0
    while i < len(formula):
        piece, i = _piece(formula, i)
        out.append(piece)
    return re.sub(r" +", " ", "".join(out)).strip()


def _piece(text: str, i: int) -> tuple[str, int]:
    """The LaTeX of what starts at i, and where the next piece starts."""
    for ratio, (above, below) in RATIOS.items():
        if text.startswith(ratio, i) and not re.match(r"[\w_]", text[i + len(ratio) :]):
            return rf"\frac{{{above}}}{{{below}}}", i + len(ratio)
    if power := re.compile(r"(\d[\d.]*)e(−?)(\d+)").match(text, i):
        mantissa = "" if power[1] == "1" else rf"{power[1]} \cdot "
        return f"{mantissa}10^{{{'-' if power[2] else ''}{power[3]}}}", power.end()
    if digits := re.compile(r"\d+(\.\d+)?").match(text, i):
        return digits[0], digits.end()
    if text[i] in "^_":
        inner, end = _argument(text, i + 1)
        apart = text[end : end + 1] == " " and text[end + 1] not in APART
        return f"{text[i]}{{{inner}}}" + (r"\," if apart else ""), end
    if words := re.compile(r"[A-Za-z]+(-[A-Za-z]+)*( [A-Za-z]+(-[A-Za-z]+)*)*").match(text, i):
        return _words(text, words[0], i)
    if text[i] not in SIGNS:
        raise LuceError(f"{text[i]!r} in {text!r} has no LaTeX. Add it to `latex.SIGNS`.")
    return SIGNS[text[i]], i + 1


def _argument(text: str, i: int) -> tuple[str, int]:
    """What is raised or lowered: a bracket, a number, a word."""
    if text[i : i + 1] == "(":
        depth = 0
        for j in range(i, len(text)):
            depth += (text[j] in CLOSING) - (text[j] in CLOSING.values())
            if depth == 0:
                return to_latex(text[i + 1 : j]), j + 1
    word = re.compile(r"−?[\d.]+|[A-Za-z]+").match(text, i)
    if word is None:
        raise LuceError(f"nothing after {text[i - 1]!r} in {text!r}.")
    inner = word[0].replace("−", "-")
    letters = inner.isalpha() and len(inner) > 2
    return rf"\mathrm{{{inner}}}" if letters else inner, word.end()


def _words(text: str, words: str, i: int) -> tuple[str, int]:
    """A function, a letter, or a run of words."""
    first = words.split(" ")[0]
    end = i + len(first)
    if first in FUNCTIONS:
        return rf"\{first} ", end
    if first in NAMED:
        return rf"\mathrm{{{first}}}" + (r"\," if text[end : end + 1] == " " else ""), end
    if len(first) == 1 and first != "a":
        return first, end
    run = first
    for word in words.split(" ")[1:]:
        if word in (*FUNCTIONS, *NAMED) or (len(word) == 1 and word != "a"):
            break
        run = f"{run} {word}"
    end = i + len(run)
    before = r"\ " if text[i - 1 : i] == " " and text[i - 2] not in APART else ""
    after = r"\ " if text[end : end + 1] == " " and text[end + 1] not in APART else ""
    kind = "mathrm" if run.isalpha() else "text"
    return rf"{before}\{kind}{{{run}}}{after}", end
