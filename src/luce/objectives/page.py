"""The pages on objectives that are written by program: `python -m luce.objectives.page docs`.

`cards.md` is written whole; of `objectives.md` only what stands between two comments.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from luce.errors import LuceError
from luce.files import write_atomic
from luce.objectives.anatomy import LossFacts
from luce.objectives.card_lines import (
    card_lines,
    group,
    parameter_lines,
    short,
)
from luce.objectives.cards import TABLES, Card, card, source_of, summary
from luce.objectives.presets import OBJECTIVES

INTRODUCTION = """\
# Cards

What luce knows of every objective and of every part, as `luce show NAME` prints it. This page is
written by `python -m luce.objectives.page docs`; the numbers on it come out of automatic
differentiation of the functions that train. [Objectives](objectives.md) explains the algebra.

| | |
|---|---|
| near 0 | value f, slope f′ and curvature f″ of the cost where the margin, or the score, is 0, per nat before β; and where the parabola with these is lowest, \\|f′\\|/f″: objectives with the same lowest point regularize alike near the reference (Tang et al., 2024, arXiv:2402.05749, section 4.1), and `luce beta convert` makes them so |
| satisfied | where the slope of the cost is 0; where it never is, where it is a tenth of that at 0 |
| without | what of the cost these numbers leave out, being no function of the pair's own margin |
| class I, class II | a loss that keeps pushing however large the margin is; one that stops, or pulls back |
| Bayes consistent | on average over labels, the loss is least at a margin with the sign of 2p − 1 |
| f·log π + g | the scores, f > 0, for which an annotator who compares responses by that very score is recovered: π = p\\* (Dumoulin et al., 2023, arXiv:2311.14115, theorem 2) |
| aw, al, h | log π/π_ref of the chosen and of the rejected response, and their difference |
"""  # noqa: E501

PARTS = {
    "scores": ("score Ω", "luce.objectives.scores"),
    "losses": ("margin loss φ", "luce.objectives.losses"),
    "labels": ("label model", "luce.objectives.labels"),
    "regularizers": ("regularizer", "luce.objectives.regularizers"),
    "lists": ("list loss", "luce.objectives.ranking"),
}
"""Table of parts → what it is called, and where it lives."""


def cards_page() -> str:
    """`docs/cards.md`."""
    blocks = [INTRODUCTION, "## Margin losses\n\n" + _losses(), "## Scores\n\n" + _scores()]
    for kind, title in (
        ("labels", "Label models"),
        ("regularizers", "Regularizers"),
        ("lists", "Losses of lists"),
    ):
        rows = [(_code(name), _code(c.formula), _text(c.summary)) for name, c in _all(kind)]
        blocks.append(f"## {title}\n\n" + _table(("", "formula", "what it is"), rows))
    for title, names in _groups().items():
        blocks.append(f"## {title[:1].upper()}{title[1:]}\n")
        blocks += [_card(card(name)) for name in names]
    return "\n".join(blocks)


def presets_table() -> str:
    """Every preset with its cost in symbols and its source, by what rows it takes."""
    blocks = []
    for title, names in _groups().items():
        rows = [
            (
                f"[`{name}`](cards.md#{name})",
                _text(summary("objectives", name)),
                _text(source_of(OBJECTIVES[name]())),
            )
            for name in names
        ]
        blocks.append(
            f"**{title[:1].upper()}{title[1:]}**\n\n" + _table(("", "cost", "source"), rows)
        )
    return "\n".join(blocks)


def parts_table() -> str:
    """Every part that has a name, by kind."""
    rows = [
        (what, _code(module), ", ".join(map(_code, TABLES[kind])))
        for kind, (what, module) in PARTS.items()
    ]
    return _table(("part", "module", "names"), rows)


BETWEEN = {"presets": presets_table, "parts": parts_table}
"""What stands between `<!-- NAME: …` and `<!-- end of NAME -->` on `objectives.md`."""


def with_tables(page: str) -> str:
    """`objectives.md` with its tables written anew.

    Raises:
        LuceError: a pair of comments is missing.
    """
    for name, table in BETWEEN.items():
        found = re.search(rf"(<!-- {name}: .*-->\n).*(<!-- end of {name} -->)", page, flags=re.S)
        if found is None:
            raise LuceError(f"objectives.md: no comments `{name}: …` and `end of {name}`.")
        page = f"{page[: found.start()]}{found[1]}\n{table()}\n{found[2]}{page[found.end() :]}"
    return page


def _groups() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in OBJECTIVES:
        found.setdefault(group(name), []).append(name)
    return found


def _all(kind: str) -> list[tuple[str, Card]]:
    return [(name, card(f"{kind}/{name}")) for name in TABLES[kind]]


def _losses() -> str:
    def row(name: str, loss: LossFacts, c: Card) -> Sequence[str]:
        at, ratio = loss.shape, loss.ratio
        return (
            _code(name),
            _code(loss.formula),
            "; ".join(map(short, (at.value, at.slope, at.curvature))),
            "–" if ratio is None else short(ratio),
            loss.tail,
            _code(loss.link) if loss.link else "–",
            "yes" if loss.bayes_consistent else "no",
            "yes" if loss.convex else "no",
            _text(c.source),
        )

    heads = "", "φ(z)", "φ, φ′, φ″ at 0", "\\|φ′\\|/φ″", "class", "P(chosen ≻ rejected)"
    rows = [row(name, c.loss, c) for name, c in _all("losses") if c.loss]
    table = _table((*heads, "Bayes consistent", "convex", "source"), rows)
    said = [
        f"- `{name}`: {_text(who)}: {_text(what)}"
        for name, c in _all("losses")
        for who, what in c.pitfalls.items()
    ]
    return "\n".join([table, *said, ""])


def _scores() -> str:
    rows = [
        (
            _code(name),
            _code(c.formula),
            {True: "yes", False: "no", None: "–"}[c.pbde],
            ", ".join(c.needs) or "–",
            _text(c.summary),
        )
        for name, c in _all("scores")
    ]
    return _table(("", "Ω(y)", "f·log π + g", "needs", "what it is"), rows)


def _card(c: Card) -> str:
    lines = [f"### {c.name}", "", _text(c.summary), ""]
    for paragraph in c.text:
        lines += [_text(paragraph), ""]
    lines += ["```text", c.formula, "```", ""]
    rows = [(_code(key), _text(text)) for key, text in parameter_lines(c)]
    for label, content in card_lines(c):
        if label in ("formula", "LaTeX", "parameters"):
            continue
        if label == "margin loss":  # its numbers are in the table of losses
            continue
        if isinstance(content, str):
            rows.append((label, _text(content)))
        elif label == "parts":
            rows += [(key, _code(text)) for key, text in content]
        elif label in ("near 0", "satisfied") and len(content) == 1:
            rows.append((label, _text(content[0][1])))
        else:
            rows += [(f"{label}: {_text(key)}", _text(text)) for key, text in content]
    return "\n".join([*lines, _table(("", ""), rows)])


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_row(heads), "|" + "---|" * len(heads), *map(_row, rows)]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("|  ", "| ")


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def _text(text: str) -> str:
    """Words as Markdown shows them: signs that it reads are escaped outside of `code`."""
    pieces = text.split("`")
    for i in range(0, len(pieces), 2):
        pieces[i] = re.sub(r"([*_|\[\]])", r"\\\1", pieces[i]).replace("<", "&lt;")
    for i in range(1, len(pieces), 2):
        pieces[i] = pieces[i].replace("|", "\\|")
    return "`".join(pieces)


def write_pages(folder: Path) -> None:
    """Write `cards.md` and the tables of `objectives.md` in a folder of documentation."""
    overview = folder / "objectives.md"
    write_atomic(overview, with_tables(overview.read_text(encoding="utf-8")))
    write_atomic(folder / "cards.md", cards_page())


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
