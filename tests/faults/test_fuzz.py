"""Whatever bytes, rows, messages, recipes, replies and requests come: an answer, or an error that
names the place; nothing else, and nothing lost."""

import copy
import gzip
import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from annotation_client import Browser
from annotation_pages import served, tasks
from fault_bench import pair
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luce.annotate.judge.parse import PARSERS
from luce.annotate.judge.reply import Reply
from luce.annotate.server import Settings, Store, records
from luce.data.dataset import DataSettings, load
from luce.data.ledger import RowError
from luce.data.rows import read
from luce.data.template import Renderer
from luce.errors import LuceError, RecipeError
from luce.recipe.check import violations
from luce.recipe.load import Resolved, load_recipe
from luce.types import Place, Preference

EXAMPLES = pytest.mark.parametrize(
    "times", [pytest.param(1, id="some"), pytest.param(20, id="many", marks=pytest.mark.slow)]
)
"""How many examples are drawn; `-m slow` draws twenty times as many."""


def examine(property: Callable[[], None], examples: int) -> None:
    """Try a property on so many examples; the same ones in every run."""
    health = [HealthCheck.too_slow, HealthCheck.data_too_large]
    settings(
        max_examples=examples, deadline=None, database=None, derandomize=True,
        suppress_health_check=health,
    )(property)()  # fmt: skip


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from(["user", "assistant", "system", "", " ", "\ud800", "\x00", 2**70]),
)  # fmt: skip
KEYS = st.sampled_from(
    "id prompt chosen rejected role content from value label weight tools responses scores messages"
    " completion data token_ids system chat_template_kwargs".split()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(KEYS, st.text(max_size=4)), inner)
    ),
    max_leaves=12,
)
SUFFIXES = ("jsonl", "json", "csv", "tsv", "parquet", "arrow", "jsonl.gz", "txt")


@st.composite
def contents(draw: Any) -> bytes:
    """Bytes of any kind: noise, JSON lines of anything, or good rows with a wound."""
    kind = draw(st.sampled_from(("noise", "lines", "wound", "text")))
    if kind == "noise":
        return draw(st.binary(max_size=200))
    if kind == "text":
        return draw(st.text(alphabet='{}[],":\n\\u0 aé"', max_size=80)).encode()
    if kind == "lines":
        rows = draw(st.lists(VALUES, max_size=5))
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    whole = b"".join(json.dumps(pair(i)).encode() + b"\n" for i in range(3))
    at, wound = draw(st.integers(0, len(whole))), draw(st.binary(max_size=4))
    return whole[:at] + wound + whole[at + draw(st.integers(0, 20)) :]


@EXAMPLES
def test_readers_give_rows_or_name_the_file(tmp_path: Path, times: int) -> None:
    @given(content=contents(), suffix=st.sampled_from(SUFFIXES), packed=st.booleans())
    def property(content: bytes, suffix: str, packed: bool) -> None:
        path = tmp_path / f"rows.{suffix}"
        path.write_bytes(gzip.compress(content) if suffix.endswith("gz") and packed else content)
        bad: list[RowError] = []
        try:
            rows = list(read(str(path), on_bad=bad.append))
        except LuceError as error:
            assert str(path) in str(error)
            return
        assert rows or bad
        for place in (*(place for place, _ in rows), *(error.place for error in bad)):
            assert place.file == str(path) and place.line >= 1

    examine(property, 300 * times)


@EXAMPLES
def test_rows_are_used_or_dropped_whatever_they_hold(
    tmp_path: Path, chatml_tokenizer: Any, times: int
) -> None:
    renderer = Renderer(copy.deepcopy(chatml_tokenizer))

    @given(odd=st.lists(st.dictionaries(KEYS, VALUES, max_size=5), min_size=1, max_size=4))
    def property(odd: list[dict[str, Any]]) -> None:
        path = tmp_path / "pairs.jsonl"
        rows = [*(pair(i) for i in range(5)), *({**pair(9), **row} for row in odd)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        try:
            found = load(str(path), renderer, DataSettings(bad_rows="drop"))
        except LuceError as error:
            assert str(path) in str(error)
            return
        dropped = [e for e in found.ledger if e["action"] == "dropped"]
        assert found.rows_used + len(dropped) == found.rows_read == len(rows)
        assert violations(found.groups, renderer) == []

    examine(property, 150 * times)


SPECIAL = ("<|im_start|>", "<|im_end|>", "<s>", "</s>", "<pad>", "assistant\n", "\n", "</think>")
CONTENT = st.lists(
    st.one_of(st.sampled_from(SPECIAL), st.text(string.printable + "é漢😀\x00", max_size=6)),
    min_size=1,
    max_size=5,
).map("".join)


@EXAMPLES
def test_the_boundary_is_exact_and_text_stays_text(chatml_tokenizer: Any, times: int) -> None:
    renderer = Renderer(copy.deepcopy(chatml_tokenizer))
    tokenizer = renderer.tokenizer
    ends = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL[:5]}

    @given(
        said=st.lists(CONTENT, min_size=1, max_size=3).filter(lambda turns: len(turns) % 2),
        answers=st.lists(CONTENT, min_size=2, max_size=2),
    )
    def property(said: list[str], answers: list[str]) -> None:
        roles = ("user", "assistant", "user")
        prompt = tuple({"role": r, "content": c} for r, c in zip(roles, said, strict=False))
        chosen, rejected = ({"role": "assistant", "content": answer} for answer in answers)
        row = Preference(
            prompt=prompt, place=Place("p", 1), id="r", chosen=(chosen,), rejected=(rejected,)
        )
        try:
            group = renderer.group(row)
        except RowError as error:
            assert error.reason in ("empty", "identical")
            return
        for branch, answer in zip(group.branches, answers, strict=True):
            assert tokenizer.decode(branch.ids[branch.scored]) == f"{answer}<|im_end|>"
            assert int((branch.ids[branch.scored] == ends["<|im_end|>"]).sum()) == 1
        text = "".join(
            f"<|im_start|>{r}\n{c}<|im_end|>\n" for r, c in zip(roles, said, strict=False)
        )
        assert tokenizer.decode(group.prompt) == f"{text}<|im_start|>assistant\n"
        assert int((group.prompt == ends["<|im_start|>"]).sum()) == len(said) + 1
        assert all(ends[token] not in group.prompt for token in ("<s>", "</s>", "<pad>"))

    examine(property, 200 * times)


RECIPE = {"model": {"path": "m"}, "data": {"path": "d"}, "objective": {"dpo": {"beta": 0.1}}}
NAMES = st.sampled_from(
    "model data objective train evaluate online reference name output_dir path kind lora dpo ipo"
    " kto simpo beta learning_rate batch_size epochs eval columns rounds annotator lr".split()
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(NAMES, st.text(max_size=4)), inner)
    ),
    max_leaves=10,
)


@EXAMPLES
def test_a_recipe_is_one_or_an_error_of_the_recipe(tmp_path: Path, times: int) -> None:
    path = tmp_path / "recipe.yaml"

    @given(
        tree=st.dictionaries(st.one_of(NAMES, st.text(max_size=4)), TREES, max_size=4),
        text=st.text(alphabet="abc:{}[]-!&*?|>'\"%@`#,\n\t 0.1~e", max_size=60),
        override=st.text(max_size=20),
    )
    def property(tree: dict[str, Any], text: str, override: str) -> None:
        path.write_text(text, errors="surrogatepass")
        tries = [
            lambda: load_recipe(path),
            lambda: load_recipe(RECIPE | tree),
            lambda: load_recipe(RECIPE, [override]),
            lambda: load_recipe(RECIPE | {"train": tree}),
        ]
        for attempt in tries:
            try:
                assert isinstance(attempt(), Resolved)
            except RecipeError as error:
                assert str(error).strip()

    examine(property, 150 * times)


@EXAMPLES
def test_no_reply_makes_a_parser_raise(times: int) -> None:
    words = st.sampled_from(
        ["[[A]]", "[[B]]", "[[C]]", "[[A>>B]]", "Verdict:", "\n", "Rating: [[", "]]", "{'model':",
         "'rank': 1}", "model_1", "m", "M", "I'm sorry", "> ", "```", "Output (a)", "\ud800"]
    )  # fmt: skip
    texts = st.lists(st.one_of(words, st.text(max_size=5)), max_size=8).map(" ".join)

    @given(text=texts, tool=st.none() | texts, name=st.sampled_from(sorted(PARSERS)))
    def property(text: str, tool: str | None, name: str) -> None:
        found = PARSERS[name].read(Reply(text=text, tool=tool))
        assert (found.value is None) == bool(found.reason)
        if found.value is not None and PARSERS[name].kind == "pairwise":
            assert 0 <= found.value <= 1

    examine(property, 300 * times)


FIELDS = st.sampled_from("key task kind ranks strength ratings comment vote name token".split())
BODIES = st.one_of(
    VALUES,
    st.dictionaries(FIELDS, VALUES),
    st.fixed_dictionaries(
        {"key": st.text(alphabet="ab-", min_size=16, max_size=16), "task": st.integers(1, 8),
         "kind": st.sampled_from(["ranked", "tie", "bad", "skip", "x"]),
         "ranks": st.lists(st.integers(-1, 3), max_size=3)},
        optional={"strength": st.one_of(st.integers(), st.integers(1, 3)), "comment": st.text(),
                  "ratings": VALUES},
    ),
)  # fmt: skip
PATHS = st.sampled_from(
    "/api/vote /api/vote /api/next /api/undo /api/me /api/differences /api/agreement / /x".split()
)


@EXAMPLES
def test_no_request_breaks_the_page_or_loses_a_vote(tmp_path: Path, times: int) -> None:
    store = Store(tmp_path / "votes.sqlite", Settings(overlap=1))
    store.add(tasks(400))
    saved: dict[str, int] = {}
    with served(store) as port:
        anna = Browser(port)
        assert anna.sign_in("anna").status == 200

        @given(path=PATHS, body=BODIES, good=st.booleans())
        def property(path: str, body: Any, good: bool) -> None:
            if good and (task := anna.next()["task"]) is not None:
                path, key = "/api/vote", f"good{len(saved):012d}"
                body = {"key": key, "task": task["number"], "kind": "ranked", "ranks": [1, 2]}
            text = json.dumps(body).encode("utf-8", "surrogatepass")
            sent = {"Content-Type": "application/json", "X-Luce-Form": anna.form}
            reply = anna.send("POST", path, text, **sent)
            assert reply.status < 500, (path, body, reply)
            if path == "/api/vote" and reply.status == 200:
                saved[body["key"]] = reply.json["vote"]
            if path == "/api/undo" and reply.status == 200 and reply.json.get("undone"):
                gone = [key for key, vote in saved.items() if vote == body["vote"]]
                saved.pop(gone[0])
            assert {record.vote for record in records(store)} == set(saved.values())

        examine(property, 200 * times)
    assert len(saved) > 10
    store.close()
