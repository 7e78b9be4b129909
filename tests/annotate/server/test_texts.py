"""Texts as trees and as differences: nothing is lost, nothing runs."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luce.annotate.server.differences import differences
from luce.annotate.server.markdown import DEEPEST, FORMATTED, TAGS, tree, visible


def flat(nodes) -> str:
    return "".join(n if isinstance(n, str) else flat(n[1]) for n in nodes)


def tags(nodes) -> set[str]:
    found = set()
    for node in nodes:
        if not isinstance(node, str):
            found |= {node[0]} | tags(node[1])
    return found


def depth(nodes) -> int:
    return max((1 + depth(n[1]) for n in nodes if not isinstance(n, str)), default=0)


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=alert(1)>",
        "<script>alert(1)</script>",
        "a <b>c</b> </script>",
        "<!-- x --><svg onload=alert(1)>",
        "[x](javascript:alert(1))",
        "<javascript:alert(1)>",
        "$\\href{javascript:alert(1)}{x}$",
    ],
)
def test_markup_is_text(text):
    assert flat(tree(text)) == text
    assert tags(tree(text)) <= {"p"}


def test_markdown_becomes_elements_of_the_list():
    text = "# T\n\n1. a\n2. *b* ~~c~~\n\n> q\n\n```py\nx < 1\n```\n\n|a|\n|-|\n|1|\n\n---\n`i`  \nj"
    found = tree(text)
    assert tags(found) >= {"h4", "ol", "li", "em", "s", "blockquote", "pre", "code", "table", "br"}
    assert ["pre", [["code", ["x < 1\n"]]]] in found


def test_links_and_images_are_words_with_their_address():
    found = tree('[w](http://example.org/a) ![alt](http://example.org/i.png "t")')
    assert tags(found) == {"p", "address"}
    assert flat(found) == "w (http://example.org/a) [image: alt (http://example.org/i.png)]"


def test_formulas_stay_as_they_are_written():
    text = "so \\(a_1 + b_1\\) and \\[ x \\]"
    assert flat(tree(text)) == text


def test_what_does_not_show_is_shown():
    assert visible("a\x00\u202eb\ud800\x7f") == "a␀[U+202E]b\ufffd\ufffd"
    assert flat(tree("a\x07\u2066b")) == "a␇[U+2066]b"


@pytest.mark.parametrize(
    "text", ["*a " * 5000 + "a*" * 5000, "> " * 15000, "- " * 15000, "**a*" * 7000], ids=len
)
def test_deep_nesting_is_cut(text):
    began = time.monotonic()
    assert depth(tree(text)) <= DEEPEST
    assert time.monotonic() - began < 20


def test_a_very_long_text_is_shown_as_it_is_written():
    text = "*a* " * FORMATTED
    assert tree(text) == [["pre", [text]]]


@given(st.text())
def test_any_text_has_a_tree_of_known_elements(text):
    assert tags(tree(text)) <= TAGS


@given(st.text(), st.text())
def test_the_pieces_put_together_are_the_texts(a, b):
    ours, theirs = differences(a, b)
    assert ("".join(t for t, _ in ours), "".join(t for t, _ in theirs)) == (a, b)


def test_what_differs_is_marked_and_only_that():
    a, b = "one two three\nfour", "one 2 three\nfour five"
    ours, theirs = differences(a, b)
    assert [t for t, marked in ours if marked] == ["two "]
    assert [t for t, marked in theirs if marked] == ["2 ", "five"]
    assert not any(marked for side in differences(a, a) for _, marked in side)


def test_long_texts_are_compared_by_lines():
    lines = [f"line {i} has some words in it" for i in range(600)]
    changed = [*lines[:300], "another line", *lines[301:]]
    ours, theirs = differences("\n".join(lines), "\n".join(changed))
    assert [t for t, marked in ours if marked] == ["line 300 has some words in it\n"]
    assert [t for t, marked in theirs if marked] == ["another line\n"]
