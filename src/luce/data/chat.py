"""The chat template of a tokenizer: renderings, their scored spans, and what must hold of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from luce.data.encode import Encoder, Hidden
from luce.data.ledger import RowError
from luce.data.template_limits import ROOM, TIMES, StuckTemplate, TooLong, limited
from luce.errors import ModelError
from luce.types import Branch, Message, Place

DEFAULT_TEMPLATE = (
    "{%- if bos_token is defined and bos_token %}{{ bos_token }}{% endif -%}"
    "{%- for message in messages -%}"
    "{%- set content = message['content'] -%}"
    "{%- if message['role'] in ['system', 'developer'] -%}"
    "{{- 'System: ' + content + '\\n\\n' -}}"
    "{%- elif message['role'] == 'user' -%}"
    "{{- 'Human: ' + content + '\\n\\n' -}}"
    "{%- elif message['role'] == 'assistant' -%}"
    "{{- 'Assistant:' + ('' if content[:1] in [' ', '\\n', '\\t'] else ' ') + content -}}"
    "{{- eos_token + ('' if loop.last else '\\n\\n') -}}"
    "{%- else -%}"
    "{{- raise_exception('This template has no role ' + message['role']) -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- 'Assistant:' -}}{%- endif -%}"
)
"""`System: …`, `Human: …`, `Assistant: …<eos>`, a blank line between turns, BOS in front where the
tokenizer has one. The space after `Assistant:` belongs to the response, so that the first word is
the token it is in running text; a response that begins with white space gets none."""

Note: TypeAlias = tuple[str, str, str]
"""(field, reason, detail) of something the template changed without harm."""

RESERVED = frozenset(
    {
        "conversation", "messages", "tools", "documents", "chat_template", "tokenize",
        "add_generation_prompt", "continue_final_message", "return_dict", "return_tensors",
        "return_assistant_tokens_mask", "sanitize_control_tokens", "padding", "truncation",
        "max_length", "tokenizer_kwargs",
    }
)  # fmt: skip
"""What a row's `chat_template_kwargs` may not set: it would change more than the template sees."""

_UNPLACED = Place("row", 1)
_PROBE = "luceprobe"


@dataclass(frozen=True)
class RenderedPrompt:
    """A prompt as the template renders it, with all a response's rendering needs."""

    turns: tuple[Message, ...]
    text: str
    ids: list[int]
    tools: Sequence[Any] | None
    kwargs: Mapping[str, Any]
    hidden: Hidden


class ChatTemplate:
    """A tokenizer's template, probed once for the token that ends a turn.

    Attributes:
        terminator: its id.
        terminator_text: its text.
    """

    def __init__(self, tokenizer: Any, encoder: Encoder, time_limit_s: float) -> None:
        self._tokenizer = tokenizer
        self._encoder = encoder
        self._time_limit_s = time_limit_s
        self._stuck: StuckTemplate | None = None
        self.terminator_text = self._probe()
        self.terminator: int = encoder.added[self.terminator_text]
        encoder.guard(self.terminator_text)

    def prompt(
        self, turns: tuple[Message, ...], tools: Sequence[Any] | None, kwargs: Mapping[str, Any],
        hidden: Hidden, notes: list[Note],
    ) -> RenderedPrompt:  # fmt: skip
        """The prompt up to where the response goes on; `RowError` if the template cuts it."""
        if reserved := sorted(RESERVED & set(kwargs)):
            raise _fault("chat_template_kwargs", f"{', '.join(reserved)} cannot be set by a row.")
        safe_tools, safe_kwargs = hidden.apply(tools), hidden.apply(dict(kwargs))
        text = self._render(hidden.turns(turns), safe_tools, safe_kwargs, generate=True)
        if tools and text == self._render(hidden.turns(turns), None, safe_kwargs, generate=True):
            raise _fault("tools", "the chat template leaves the tools out.")
        for i, turn in enumerate(turns):
            self._check_content(hidden.apply(turn), text, f"prompt[{i}]", notes)
        ids = self._encoder.rendered(text, hidden, continues=False)
        bos = self._tokenizer.bos_token_id
        if bos is not None and ids[:2] == [bos, bos]:
            raise _fault("prompt", "the chat template begins with two BOS tokens.")
        if not ids:
            raise _fault("prompt", "the chat template renders the prompt to nothing.")
        return RenderedPrompt(turns, text, ids, safe_tools, safe_kwargs, hidden)

    def branch(
        self, prompt: RenderedPrompt, field: str, response: tuple[Message, ...],
        notes: list[Note], last_only: bool,
    ) -> Branch:  # fmt: skip
        """The tokens of a response after its prompt; scored are its assistant turns, each with its
        end-of-turn token, or only the last."""
        turns = prompt.hidden.turns((*prompt.turns, *response))
        first = len(prompt.turns)
        full = self._render(turns, prompt.tools, prompt.kwargs, generate=False)
        if not full.startswith(prompt.text):
            raise self._not_a_prefix(prompt.text, full, field, prompt.hidden)
        ids: list[int] = []
        scored: list[bool] = []
        cursor = len(prompt.text)
        for i, turn in enumerate(response):
            is_last = i == len(response) - 1
            if turn["role"] != "assistant" or (last_only and not is_last):
                self._check_content(turns[first + i], full[cursor:], f"{field}[{i}]", notes)
                continue
            start, end = cursor, len(full)
            if i:
                start = self._length(turns[: first + i], prompt, full, field, generate=True)
                context = self._encoder.rendered(full[cursor:start], prompt.hidden, continues=True)
                ids += context
                scored += [False] * len(context)
            if not is_last:
                end = self._length(turns[: first + i + 1], prompt, full, field, generate=False)
            said = self._turn(full[start:end], turns[first + i], f"{field}[{i}]", notes)
            spoken = self._encoder.rendered(said, prompt.hidden, continues=True)
            if spoken.count(self.terminator) != 1 or spoken[-1] != self.terminator:
                raise _fault(field, f"the turn does not end in one {self.terminator_text} token.")
            ids += spoken
            scored += [True] * len(spoken)
            cursor = start + len(said)
        return Branch(np.asarray(ids, dtype=np.int32), np.asarray(scored, dtype=bool))

    def _turn(self, text: str, turn: Mapping[str, Any], field: str, notes: list[Note]) -> str:
        """The rendering of one assistant turn, up to and with its end-of-turn token."""
        content = self._check_content(turn, text, field, notes)
        at = text.find(content)
        end = text.find(self.terminator_text, at + len(content))
        if end < 0:
            raise _fault(field, f"the chat template writes no {self.terminator_text} after it.")
        return text[: end + len(self.terminator_text)]

    def _check_content(
        self, turn: Mapping[str, Any], text: str, field: str, notes: list[Note]
    ) -> str:
        """The content as it stands in the rendering; `RowError` where it does not."""
        content = turn["content"]
        if content in text:
            return content
        trimmed = content.strip()
        if trimmed in text:
            notes.append((f"{field}.content", "trimmed", "the chat template trims white space."))
            return trimmed
        answer = content.rpartition("</think>")[2].strip()
        if turn["role"] == "assistant" and field.startswith("prompt[") and answer in text:
            notes.append((f"{field}.content", "reasoning", "the chat template leaves out the "
                          "reasoning of an earlier turn."))  # fmt: skip
            return answer
        raise _fault(
            f"{field}.content",
            f"the chat template leaves out or changes text of the {turn['role']}'s turn. Use "
            "another template, or take this text out of the row.",
        )

    def _length(
        self, turns: list[dict[str, Any]], prompt: RenderedPrompt, full: str, field: str,
        generate: bool,
    ) -> int:  # fmt: skip
        part = self._render(turns, prompt.tools, prompt.kwargs, generate)
        if not full.startswith(part):
            raise self._not_a_prefix(part, full, field, prompt.hidden)
        return len(part)

    def _not_a_prefix(self, part: str, full: str, field: str, hidden: Hidden) -> RowError:
        at = next((i for i, (a, b) in enumerate(zip(part, full, strict=False)) if a != b),
                  min(len(part), len(full)))  # fmt: skip
        before = hidden.show(part[max(0, at - 12) : at + 20])
        after = hidden.show(full[max(0, at - 12) : at + 20])
        return _fault(
            field,
            f"the chat template renders what comes before the response as …{before!r}, but with "
            f"the response after it as …{after!r}: no boundary fits both. Pass a "
            "chat_template_kwargs that turns this off (such as enable_thinking), or another "
            "template.",
        )

    def _render(
        self, turns: list[dict[str, Any]], tools: Any, kwargs: Mapping[str, Any], generate: bool
    ) -> str:
        if self._stuck is not None:
            raise self._stuck
        most = ROOM + TIMES * _characters([turns, tools, kwargs])
        try:
            with limited(self._time_limit_s, most):
                return self._tokenizer.apply_chat_template(
                    turns, tools=tools, add_generation_prompt=generate, tokenize=False, **kwargs
                )
        except TimeoutError:
            self._stuck = self._too_slow(" for an earlier row")
            raise self._too_slow("") from None
        except TooLong:
            raise _fault("", f"the chat template writes over {most:,} characters for this row, "
                         f"{ROOM:,} and {TIMES} times what it is given.") from None  # fmt: skip
        except Exception as error:
            said = str(error).strip().splitlines()
            raise _fault("", f"the chat template refuses this row: {type(error).__name__}: "
                         f"{said[0] if said else ''}") from error  # fmt: skip

    def _too_slow(self, where: str) -> StuckTemplate:
        return StuckTemplate(
            f"the chat template took over {self._time_limit_s:g} s{where} and is not asked again: "
            "every row might take as long. Mend the model's template, or take that row out."
        )

    def _probe(self) -> str:
        turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": _PROBE}]
        try:
            full = self._render(turns, None, {}, generate=False)
        except StuckTemplate as error:
            raise ModelError(
                "The tokenizer's chat template does not work: it took over "
                f"{self._time_limit_s:g} s for two short turns."
            ) from error
        except RowError as error:
            raise ModelError(
                f"The tokenizer's chat template does not work: {error.detail}"
            ) from error
        _, found, tail = full.partition(_PROBE)
        if not found:
            raise ModelError("The tokenizer's chat template leaves out the assistant's answer.")
        # Special tokens first: `</tool_call>` and the like may stand before the end of a turn.
        for known in (self._encoder.controls, self._encoder.added):
            at = {t: tail.find(t) for t in known if t in tail}
            if at:
                return min(at, key=lambda t: (at[t], -len(t)))
        raise ModelError(
            f"The tokenizer's chat template writes no end-of-turn token after an answer (found "
            f"{tail[:20]!r}), so the model could not learn to stop. Add {{{{ eos_token }}}} there, "
            "or set data.render: plain."
        )


def _fault(field: str, detail: str) -> RowError:
    return RowError(_UNPLACED, field, "template", detail)


def _characters(value: Any) -> int:
    """How many characters of text there are in it."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(_characters(key) + _characters(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return sum(map(_characters, value))
    return 0
