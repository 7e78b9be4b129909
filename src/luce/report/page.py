"""HTML pages that are whole by themselves: templates, the inline script's hash, safe text."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from luce.report import numbers

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Frame:
    """What stands around the content of a page.

    Attributes:
        status: a sentence on a run that goes on, or broke off.
        refresh_s: the browser reads the page again after so many seconds; None: it does not.
        links: (address, words) of the pages around this one, where it is served.
    """

    status: str = ""
    refresh_s: int | None = None
    links: tuple[tuple[str, str], ...] = ()


def render(template: str, context: Mapping[str, Any], frame: Frame | None = None) -> str:
    """The page of a template, every value escaped unless it is Markup.

    The page may run one script, the search box's, named by its hash in the content security
    policy, and may load nothing.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in (
        "number",
        "signed",
        "percent",
        "percent_range",
        "number_range",
        "count",
        "counted",
    ):
        environment.filters[name] = getattr(numbers, name)
    environment.filters["prose"] = prose
    script, policy = _script(), content_policy()
    style = Markup((TEMPLATES / "style.css").read_text("utf-8").strip())
    return environment.get_template(template).render(
        **context, script=Markup(script), policy=policy, style=style, frame=frame or Frame()
    )


def _script() -> str:
    return (TEMPLATES / "search.js").read_text("utf-8").strip()


def content_policy() -> str:
    """The content security policy of every page that `render` makes."""
    digest = base64.b64encode(hashlib.sha256(_script().encode()).digest()).decode()
    return (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def clip(text: str, limit: int) -> tuple[str, int]:
    """A text's first `limit` characters, and how many are left out.

    >>> clip("abcdef", 4)
    ('abcd', 2)
    """
    return (text, 0) if len(text) <= limit else (text[:limit], len(text) - limit)


def prose(text: str) -> Markup:
    """A sentence as HTML: escaped, `backticks` as code, and no line break within an interval.

    >>> prose("`a<b` in 1.5–2.5")
    Markup('<code>a&lt;b</code> in <span class="whole">1.5–2.5</span>')
    """
    escaped = str(escape(visible(text)))
    coded = re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped)
    return Markup(
        re.sub(r"(\d[\d.,]*–\d[\d.,]*(?:\xa0%)?)", r'<span class="whole">\1</span>', coded)
    )


def pretty_json(value: Any) -> str:
    """Indented JSON for people."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def visible(text: str) -> str:
    """The text with what would not show made visible: control characters as their pictures, marks
    that reorder the text around them by their code, lone surrogates as U+FFFD.

    >>> visible("a" + chr(0) + "b" + chr(0x202E) + "c")
    'a␀b[U+202E]c'
    """
    text = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", lambda m: chr(0x2400 + ord(m[0])), text)
    text = re.sub(r"[\u202a-\u202e\u2066-\u2069]", lambda m: f"[U+{ord(m[0]):04X}]", text)
    return re.sub(r"[\ud800-\udfff\x7f-\x9f]", "\ufffd", text)


def _finalize(value: Any) -> Any:
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return visible(value)
