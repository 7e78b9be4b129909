"""Reading verdicts: pure functions from a judge's reply to a value, apart from any calling.

A parser never guesses: what it cannot read is invalid, with the reason. The rules of published
benchmarks are followed to the letter where that is not guessing; where a benchmark would take the
first of two different verdicts, these say "ambiguous".
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from luce.annotate.judge.free_text import read_free_text, without_quotes
from luce.annotate.judge.reply import Parsed, Reply, invalid, preference, rating
from luce.errors import LuceError, did_you_mean

LEAST_MASS = 0.05
"""The least probability that the first token may put on the labels together."""
_LABELS = {
    **{label: 1.0 for label in ("A>>B", "A>B", "B<A", "B<<A", "A")},
    **{label: 0.5 for label in ("A=B", "B=A", "C")},
    **{label: 0.0 for label in ("B>>A", "B>A", "A<B", "A<<B", "B")},
}
_NAMES = (("model_1", "model_2"), ("m", "M"))
_REFUSAL = re.compile(
    r"\b(?:i['’]?m\s+sorry|i\s+am\s+sorry|i\s+apologi[sz]e|i\s+(?:can['’]?t|cannot|won['’]?t|am\s+unable"
    r"|am\s+not\s+able)\b|as\s+an\s+ai\b)",
    re.IGNORECASE,
)
_FINAL = re.compile(
    r"\W*?(?:(?:my|the)?\s*(?:final\s+)?(?:verdict|answer|decision|judge?ment)(?:\s+is)?\W*?)?"
    r"\[\[\s*([AB<>=]+|C)\s*\]\]\W*",
    re.IGNORECASE,
)
_ANY_LABEL = re.compile(r"\[\[\s*([AB<>=]+|C)\s*\]\]")
_ENTRY = re.compile(
    r"\{\s*['\"]model['\"]\s*:\s*['\"]([^'\"{}]*)['\"]\s*,\s*['\"]rank['\"]\s*:\s*['\"]?([0-9]+)['\"]?\s*,?\s*\}"
    r"|\{\s*['\"]rank['\"]\s*:\s*['\"]?([0-9]+)['\"]?\s*,\s*['\"]model['\"]\s*:\s*['\"]([^'\"{}]*)['\"]\s*,?\s*\}"
)

Needs: TypeAlias = Literal["text", "logprobs", "tool"]
"""What a parser reads: the text, the first token's log-probabilities, or a tool call."""


@dataclass(frozen=True)
class Parser:
    """How to read a reply.

    Attributes:
        name: its key in `PARSERS`.
        read: reply → what it says; never raises.
        kind: whether it reads comparisons ("pairwise") or grades of one response ("single").
        needs: what must be asked of the back-end.
        source: whose format it is.
    """

    name: str
    read: Callable[[Reply], Parsed]
    kind: Literal["pairwise", "single"]
    needs: Needs
    source: str

    def __call__(self, reply: Reply) -> Parsed:
        """What the reply says. A reply without a verdict is told apart into empty, refused, cut
        off and unreadable ones."""
        if reply.problem:
            return invalid(reply.problem)
        thought, ended, answer = reply.text.rpartition("</think>")
        if not ended and answer.lstrip().startswith("<think>"):
            return invalid("truncated")
        found = self.read(replace(reply, text=answer))
        if found.valid or found.reason not in ("unparsed", "malformed", "no_logprobs"):
            return found
        if self.needs == "logprobs":
            return found
        if not answer.strip() and not reply.tool:
            return invalid("truncated" if reply.finish_reason == "length" else "empty")
        if reply.finish_reason == "length":
            return invalid("truncated")
        return invalid("refusal") if _REFUSAL.search(answer[:300]) else found


def arena_hard(reply: Reply) -> Parsed:
    """`[[A>>B]]`, `[[A>B]]`, `[[A=B]]`, `[[B>A]]`, `[[B>>A]]` anywhere in the text, several if they
    are the same (Arena-Hard v0.1; Li et al., 2024, arXiv:2406.11939). `label` keeps the strength.

    >>> arena_hard(Reply("My final verdict is: [[A>>B]]")).label
    'A>>B'
    """
    return _one_of(re.findall(r"\[\[([AB<>=]+)\]\]", reply.text))


def arena_hard_v2(reply: Reply) -> Parsed:
    """The last label counts, in any case, in single brackets if there is none in double ones
    (Arena-Hard v2.0)."""
    upper = reply.text.upper()
    for pattern in (r"\[\[([AB<>=]+)\]\]", r"\[([AB<>=]+)\]"):
        if labels := re.findall(pattern, upper):
            return _one_of(labels[-1:])
    return invalid("unparsed")


def mt_bench_pairwise(reply: Reply) -> Parsed:
    """`[[A]]`, `[[B]]`, or `[[C]]` for a tie (MT-Bench; Zheng et al., 2023, arXiv:2306.05685)."""
    return _one_of(re.findall(r"\[\[([ABC])\]\]", reply.text))


def mt_bench_single(reply: Reply) -> Parsed:
    """`[[rating]]` in [1, 10]: one number, or the same one again (MT-Bench, single answer). Single
    brackets are read only right behind "rating" or "score"."""
    number = r"([0-9]+(?:\.[0-9]*)?)"
    found = re.findall(rf"\[\[{number}\]\]", reply.text) or re.findall(
        rf"(?i:rating|score)\W{{0,4}}?\[{number}\](?!\])", reply.text
    )
    values = {float(one) for one in found}
    if len(values) != 1:
        return invalid("ambiguous", ", ".join(found)) if values else invalid("unparsed")
    value = values.pop()
    return rating(value, found[0]) if 1 <= value <= 10 else invalid("out_of_range", found[0])


def final_label(reply: Reply) -> Parsed:
    """`[[A]]`, `[[B]]`, `[[C]]` or `[[A>>B]]` … alone on the last line, or behind "Verdict:".

    A label that the judge quotes from a response is not on the last line; one that it gives itself
    elsewhere must agree.
    """
    lines = reply.text.strip().splitlines()
    last = _FINAL.fullmatch(lines[-1].strip()) if lines else None
    if last is None:
        return invalid("unparsed")
    before = without_quotes("\n".join(lines[:-1]))
    return _one_of([*_ANY_LABEL.findall(before), last[1].upper()])


def alpaca_eval_ranking(reply: Reply) -> Parsed:
    """`[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]` (AlpacaEval; Li et al.,
    2023), Python or JSON; `m` and `M` are names as well. Equal ranks are a tie."""
    entries = {(a or d, int((b or c)[:9])) for a, b, c, d in _ENTRY.findall(reply.text)}
    return _ranked(sorted(entries)) if entries else invalid("malformed")


def alpaca_eval_label(reply: Reply) -> Parsed:
    """`m` or `M` and nothing else: the label of AlpacaEval 2 as text, where a server gives no
    log-probabilities."""
    label = reply.text.strip().strip("\"'`*.")
    if label not in ("m", "M"):
        return invalid("unparsed")
    return preference(1.0 if label == "m" else 0.0, label)


def tool_json(reply: Reply) -> Parsed:
    """The arguments of a tool call, or one JSON object in the text: `ordered_models` as AlpacaEval
    has it, or `verdict`: "A", "B" or "tie"."""
    found = _json_object(reply.text if reply.tool is None else reply.tool)
    if found is None:
        return invalid("malformed")
    models, verdict = found.get("ordered_models"), found.get("verdict")
    if (models is None) == (verdict is None):
        return invalid("malformed" if models is None else "ambiguous")
    if verdict is not None:
        value = {"A": 1.0, "B": 0.0, "tie": 0.5}.get(verdict if isinstance(verdict, str) else "")
        return invalid("malformed") if value is None else preference(value, str(verdict))
    if not isinstance(models, list) or not all(isinstance(one, dict) for one in models):
        return invalid("malformed")
    entries = [(one.get("model"), one.get("rank")) for one in models]
    named = all(isinstance(name, str) and type(rank) is int for name, rank in entries)
    return _ranked(entries) if named else invalid("malformed")


def output_a_b(reply: Reply) -> Parsed:
    """Plain words: "Output (a) is better" (LLMBar; Zeng et al., 2023, arXiv:2310.07641)."""
    return read_free_text(reply.text)


def label_logprobs(
    first: Sequence[str], second: Sequence[str], spellings: bool = True
) -> Callable[[Reply], Parsed]:
    """A reader of P(first) = p(first's tokens) / (p(first's) + p(second's)), of the first token.

    Args:
        first, second: the labels.
        spellings: whether tokens that differ by spaces, quotation marks and brackets around a
            label count as it (" A", "(A"). False: the bare token alone, as AlpacaEval has it,
            unless more than a hundredth is on other spellings.

    A label that is not listed has probability 0, as in AlpacaEval. That is right only where the
    tokens not listed hold little: if they could move P by more than .05, the reply is invalid, and
    so it is where the labels hold less than `LEAST_MASS` together.
    """

    def masses(listed: Mapping[str, float], around: str) -> tuple[float, float]:
        each = [(token.strip(around) if around else token, p) for token, p in listed.items()]
        a, b = (
            math.fsum(math.exp(p) for token, p in each if token in labels)
            for labels in (first, second)
        )
        return a, b

    def read(reply: Reply) -> Parsed:
        listed = reply.first_token or {}
        a, b = masses(listed, " \t\n\r\"'`*([▁Ġ")
        bare = masses(listed, "")
        if not spellings and sum(bare) > 0.99 * (a + b):
            a, b = bare
        if a + b < LEAST_MASS:
            return invalid("no_logprobs")
        unseen = min(1 - math.fsum(map(math.exp, listed.values())), math.exp(min(listed.values())))
        if min(a, b) == 0 and unseen > 0.05 * (a + b):
            return invalid("no_logprobs")
        return preference(a / (a + b), "" if a == b else first[0] if a > b else second[0])

    return read


def logprobs_or_label(reply: Reply) -> Parsed:
    """`m` or `M` by its log-probabilities where the reply has them, else by its text; which of the
    two it was shows in the reply."""
    if reply.first_token:
        return _M_OR_M(reply)
    return alpaca_eval_label(reply) if reply.text.strip() else invalid("empty")


_M_OR_M = label_logprobs(["m"], ["M"], spellings=False)


def parser_of(name: str) -> Parser:
    """The parser of this name.

    Raises:
        LuceError: there is none.
    """
    if name not in PARSERS:
        raise LuceError(f"There is no parser {name!r}. {did_you_mean(name, PARSERS)}")
    return PARSERS[name]


def _one_of(labels: Sequence[str]) -> Parsed:
    distinct = list(dict.fromkeys(labels))
    if len(distinct) > 1:
        return invalid("ambiguous", ", ".join(distinct))
    if not distinct or distinct[0] not in _LABELS:
        return invalid("unparsed", *distinct)
    return preference(_LABELS[distinct[0]], distinct[0])


def _ranked(entries: Sequence[tuple[Any, Any]]) -> Parsed:
    ranks, label = dict(entries), ", ".join(f"{name} {rank}" for name, rank in entries)
    if len(ranks) != len(entries):
        return invalid("ambiguous", label)
    for first, second in _NAMES:
        if set(ranks) == {first, second} and set(ranks.values()) <= {1, 2}:
            return preference((1 + ranks[second] - ranks[first]) / 2, label)
    return invalid("malformed", label)


def _json_object(text: str) -> dict[str, Any] | None:
    start = text.find("{")
    try:
        decoder = json.JSONDecoder(object_pairs_hook=_once)
        found, end = decoder.raw_decode(text[start:]) if start >= 0 else (None, 0)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and "{" not in text[start + end :] else None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


PARSERS: dict[str, Parser] = {
    parser.name: parser
    for parser in (
        Parser("final_label", final_label, "pairwise", "text", "luce"),
        Parser("arena_hard", arena_hard, "pairwise", "text", "Arena-Hard v0.1"),
        Parser("arena_hard_v2", arena_hard_v2, "pairwise", "text", "Arena-Hard v2.0"),
        Parser("mt_bench_pairwise", mt_bench_pairwise, "pairwise", "text", "MT-Bench"),
        Parser("mt_bench_single", mt_bench_single, "single", "text", "MT-Bench"),
        Parser("alpaca_eval_ranking_list", alpaca_eval_ranking, "pairwise", "text", "AlpacaEval"),
        Parser("alpaca_eval_label", alpaca_eval_label, "pairwise", "text", "AlpacaEval 2"),
        Parser(
            "logprobs",
            _M_OR_M,
            "pairwise",
            "logprobs",
            "AlpacaEval 2",
        ),
        Parser(
            "logprobs_or_label",
            logprobs_or_label,
            "pairwise",
            "logprobs",
            "AlpacaEval 2",
        ),
        Parser(
            "label_logprobs",
            label_logprobs(["A", "a"], ["B", "b"]),
            "pairwise",
            "logprobs",
            "luce",
        ),
        Parser("tool_json", tool_json, "pairwise", "tool", "AlpacaEval, tool call"),
        Parser("output_a_b", output_a_b, "pairwise", "text", "LLMBar"),
    )
}
"""Name → parser."""
