"""Text to token ids, such that text from a row never becomes a control token.

Control tokens are the tokenizer's special tokens. Where one is spelled out in a row, it is hidden
behind a nonce while the chat template is rendered, and then encoded character by character like
any other text. Other added tokens (`<think>`, `<tool_call>` …) are treated so in every turn but the
assistant's: there they are what the model itself writes.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from luce.errors import DataError
from luce.types import Message


class Encoder:
    """Encodes template text with its control tokens, and row text without any.

    Attributes:
        tokenizer: the model's.
        controls: special tokens, text → id.
        added: all added tokens but white space, text → id.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        known = tokenizer.added_tokens_decoder
        special = set(tokenizer.all_special_ids) | {i for i, t in known.items() if t.special}
        texts = {i: t.content for i, t in known.items()}
        texts |= {i: tokenizer.convert_ids_to_tokens(i) for i in special if i not in texts}
        self.added: dict[str, int] = {t: i for i, t in texts.items() if t and not t.isspace()}
        self.controls: dict[str, int] = {t: i for t, i in self.added.items() if i in special}
        self._control_pattern = _any_of(self.controls)
        self._added_pattern = _any_of(self.added)
        self._literals: dict[str, list[int]] = {}
        # A tokenizer that puts a space before every text needs an anchor to continue one.
        glued = self._decode([*self.template("a"), *self.template("b")])
        self._spaced = glued != "ab"

    def guard(self, text: str) -> None:
        """Count an added token among the control tokens from now on."""
        self.controls[text] = self.added[text]
        self._control_pattern = _any_of(self.controls)

    def template(self, text: str) -> list[int]:
        """The ids of text that a template wrote: control tokens are tokens."""
        if not text:
            return []
        # verbose=False: a text longer than the model's context is cut later, and counted.
        return self.tokenizer.encode(text, add_special_tokens=False, verbose=False)

    def row(self, text: str, continues: bool) -> list[int]:
        """The ids of text that a row holds: nothing in it becomes a control token."""
        return self._pieces(_split(self._control_pattern, text), continues)

    def rendered(self, text: str, hidden: "Hidden", continues: bool) -> list[int]:
        """The ids of a rendering: the template's text with tokens, what was hidden as text."""
        if not hidden.literals:
            return self._plain(text, continues)
        return self._pieces(hidden.split(text), continues)

    def hide(self, *parts: Any) -> "Hidden":
        """Nonces for the control tokens spelled out in these messages, tools and values."""
        found: set[str] = set()
        for part in parts:
            found.update(self._spelled(part, assistant=False))
        return Hidden(self, sorted(found, key=lambda s: (-len(s), s)), parts)

    def pattern(self, assistant: bool) -> re.Pattern[str]:
        """What is hidden in an assistant turn, or in any other."""
        return self._control_pattern if assistant else self._added_pattern

    def _spelled(self, value: Any, assistant: bool) -> Iterable[str]:
        if isinstance(value, str):
            return self.pattern(assistant).findall(value)
        if isinstance(value, Mapping):
            own = value.get("role") == "assistant" or assistant
            return [s for v in value.values() for s in self._spelled(v, own)]
        if isinstance(value, list | tuple):
            return [s for v in value for s in self._spelled(v, assistant)]
        return []

    def _pieces(self, pieces: Iterable[tuple[str, bool]], continues: bool) -> list[int]:
        ids: list[int] = []
        for text, literal in pieces:
            if literal:
                ids += self._literal(text)
            elif text:
                ids += self._plain(text, continues or bool(ids))
        return ids

    def _plain(self, text: str, continues: bool) -> list[int]:
        if not (continues and self._spaced) or text.startswith(tuple(self.added)):
            return self.template(text)
        for anchor in ("\n", "|", ":", "a"):
            head, whole = self.template(anchor), self.template(anchor + text)
            if whole[: len(head)] == head:
                return whole[len(head) :]
        raise DataError(f"this tokenizer cannot continue a text with {text[:20]!r} exactly.")

    def _literal(self, text: str) -> list[int]:
        if text not in self._literals:
            if not self.tokenizer.is_fast:
                raise DataError(
                    f"the text {text!r} is a control token, and this tokenizer is not a fast one, "
                    "so it cannot encode it as ordinary text. Remove it from the row."
                )
            backend = self.tokenizer.backend_tokenizer
            shown = backend.normalizer.normalize_str(text) if backend.normalizer else text
            splits = [shown]
            if backend.pre_tokenizer:
                splits = [s for s, _ in backend.pre_tokenizer.pre_tokenize_str(shown)]
            ids = [token.id for split in splits for token in backend.model.tokenize(split)]
            if set(ids) & set(self.added.values()) or self._decode(ids) != text:
                raise DataError(
                    f"the text {text!r} is a control token of this tokenizer, which cannot encode "
                    "it as ordinary text. Remove it from the row."
                )
            self._literals[text] = ids
        return self._literals[text]

    def _decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(
            ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )


class Hidden:
    """Control tokens of one row behind nonces, and the way back."""

    def __init__(self, encoder: Encoder, literals: list[str], parts: tuple[Any, ...]) -> None:
        self.literals = literals
        self._encoder = encoder
        content = repr(parts).encode("utf-8", "surrogatepass") if literals else b""
        digest = hashlib.sha256(content).hexdigest()[:16]
        self._nonces = {text: f"q{digest}n{i}z" for i, text in enumerate(literals)}
        self._texts = {nonce: text for text, nonce in self._nonces.items()}
        self._pattern = _any_of(self._texts)

    def apply(self, value: Any, assistant: bool = False) -> Any:
        """The value with every control token in its texts replaced; roles stand as they are."""
        if not self.literals:
            return value
        if isinstance(value, str):
            pattern = self._encoder.pattern(assistant)
            return pattern.sub(lambda found: self._nonces[found.group()], value)
        if isinstance(value, Mapping):
            own = value.get("role") == "assistant" or assistant
            return {k: v if k == "role" else self.apply(v, own) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self.apply(v, assistant) for v in value]
        return value

    def turns(self, turns: Iterable[Message]) -> list[dict[str, Any]]:
        """These turns, as a template is given them."""
        return [dict(self.apply(turn)) for turn in turns]

    def split(self, text: str) -> list[tuple[str, bool]]:
        """A rendering as pieces: (template's text, False) and (hidden text, True)."""
        return [
            (self._texts.get(piece, piece), literal)
            for piece, literal in _split(self._pattern, text)
        ]

    def show(self, text: str) -> str:
        """A rendering as people would read it."""
        return "".join(piece for piece, _ in self.split(text))


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(texts, key=lambda s: (-len(s), s))
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def _split(pattern: re.Pattern[str], text: str) -> list[tuple[str, bool]]:
    pieces, at = [], 0
    for found in pattern.finditer(text):
        pieces += [(text[at : found.start()], False), (found.group(), True)]
        at = found.end()
    return [*pieces, (text[at:], False)]
