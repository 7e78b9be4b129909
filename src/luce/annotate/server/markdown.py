"""Markdown as a tree of a few plain elements, which the page builds node by node.

No HTML is made anywhere: tags in a text are text. Links and images become their words and their
address; nothing is loaded and nothing leads away. Formulas stay as they are written.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, TypeAlias

from markdown_it import MarkdownIt
from markdown_it.token import Token

Node: TypeAlias = str | list[Any]
"""A text, or `[tag, [child, …]]`."""

TAGS = frozenset(
    (
        *("p", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "code", "em", "strong"),
        *("s", "table", "thead", "tbody", "tr", "th", "td", "br", "hr", "address"),
    )
)
"""All elements that a tree may hold; `address` says where a link or an image leads."""

FORMATTED = 30_000
"""Longer texts are shown as they are written."""

DEEPEST = 40
"""Elements within each other; what is nested deeper goes into the last of them."""

_TEX = re.compile(r"\\[(\[]|\\begin\{|\$\$")


@lru_cache(maxsize=2)
def _parser(tex: bool) -> MarkdownIt:
    parser = MarkdownIt("js-default", {"html": False, "linkify": False, "typographer": False})
    # a backslash before a bracket opens a formula, where there are formulas
    return parser.disable("escape") if tex else parser


def visible(text: str) -> str:
    """The text with what would not show made visible: control characters as their pictures, marks
    that reorder the text around them by their code, half surrogates as U+FFFD.

    >>> visible("a" + chr(0) + "b" + chr(0x202E))
    'a␀b[U+202E]'
    """
    text = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", lambda m: chr(0x2400 + ord(m[0])), text)
    text = re.sub(r"[\u202a-\u202e\u2066-\u2069]", lambda m: f"[U+{ord(m[0]):04X}]", text)
    return re.sub(r"[\ud800-\udfff\x7f-\x9f]", "\ufffd", text)


def tree(text: str) -> list[Node]:
    """The nodes of a text in Markdown (CommonMark with tables and ~~strikethrough~~).

    >>> tree("a *b* <b>c</b>")
    [['p', ['a ', ['em', ['b']], ' <b>c</b>']]]
    """
    text = visible(text.replace("\r\n", "\n"))
    if len(text) > FORMATTED:
        return [["pre", [text]]]
    root: list[Node] = []
    stack, addresses = [root], []
    for token in _flat(_parser(bool(_TEX.search(text))).parse(text)):
        if token.type == "link_open":
            addresses.append(str(token.attrs.get("href", "")))
        elif token.type == "link_close":
            stack[-1].append(["address", [f" ({addresses.pop()})"]])
        elif token.nesting == 1:
            stack.append(_opened(token, stack))
        elif token.nesting == -1:
            stack.pop()
        else:
            stack[-1].append(_leaf(token))
    return root


def _flat(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        if token.type == "inline":
            yield from token.children or []
        elif not token.hidden:  # the paragraphs of a tight list
            yield token


def _opened(token: Token, stack: list[list[Node]]) -> list[Node]:
    """The list that takes the children of a new element."""
    tag = f"h{min(6, int(token.tag[1]) + 3)}" if re.fullmatch(r"h[1-6]", token.tag) else token.tag
    if len(stack) > DEEPEST or tag not in TAGS:
        return stack[-1]
    children: list[Node] = []
    stack[-1].append([tag, children])
    return children


def _leaf(token: Token) -> Node:
    match token.type:
        case "code_inline":
            return ["code", [token.content]]
        case "fence" | "code_block":
            return ["pre", [["code", [token.content]]]]
        case "softbreak":
            return "\n"
        case "hardbreak":
            return ["br", []]
        case "hr":
            return ["hr", []]
        case "image":
            return ["address", [f"[image: {token.content} ({token.attrs.get('src', '')})]"]]
        case _:  # text, and HTML, which is text here
            return token.content
