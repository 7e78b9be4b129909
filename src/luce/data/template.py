"""Rows to token ids through the model's chat template: one rendering for training and generation.

The prompt ends where the template's generation prompt ends, and the ids of a group are
`encode(rendered prompt) ++ encode(the rest of the rendering)`: the boundary is a token boundary by
construction. Of an assistant turn are scored the tokens from there to the first end-of-turn token,
which is scored as well; nothing after it is.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from luce.data.chat import DEFAULT_TEMPLATE, ChatTemplate, Note
from luce.data.encode import Encoder, Hidden
from luce.data.ledger import RowError
from luce.data.template_limits import StuckTemplate
from luce.data.turns import as_turns
from luce.data.validate import check_prompt, check_row, is_running_text, responses_of
from luce.errors import DataError, ModelError
from luce.files import fingerprint
from luce.types import (
    Branch,
    Feedback,
    Group,
    Message,
    Place,
    Preference,
    Ranking,
    Row,
    Text,
    TokenIds,
)  # fmt: skip

Render: TypeAlias = Literal["chat", "plain"]
ScoreTurns: TypeAlias = Literal["all_assistant", "last"]

_NOWHERE = Place("prompt", 1)


class Renderer:
    """Renders rows for one tokenizer.

    Under `render="chat"` a text prompt is one user turn and a text response one assistant turn.
    A tokenizer without a chat template is given `DEFAULT_TEMPLATE`, which it keeps. Under
    `render="plain"` a row is prompt + completion + eos, and turns are refused. A demonstration of
    running text (no prompt) is plain under both.

    Attributes:
        tokenizer: the model's; its `chat_template` is set where it had none.
        render, score_turns: as given.
        terminator: id of the token that ends a response, the only end that is trained.
        template_hash: fingerprint of everything here that enters the ids.
        default_template: whether the template is `DEFAULT_TEMPLATE`.
        had_no_template: whether the tokenizer came without one, and was given it here.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        render: Render = "chat",
        score_turns: ScoreTurns = "all_assistant",
        time_limit_s: float = 10.0,
    ) -> None:
        self.tokenizer = tokenizer
        self.render = render
        self.score_turns = score_turns
        self._encoder = Encoder(tokenizer)
        self._bos: int | None = tokenizer.bos_token_id
        installs = render == "chat" and not tokenizer.chat_template
        if tokenizer.eos_token_id is None and (render == "plain" or installs):
            raise ModelError(
                "The tokenizer has no eos token, so a response could not end. Set "
                "`eos_token` in its tokenizer_config.json to the token that ends a text."
            )
        self.had_no_template: bool = installs
        if installs:
            tokenizer.chat_template = DEFAULT_TEMPLATE
        self.default_template: bool = render == "chat" and (
            tokenizer.chat_template == DEFAULT_TEMPLATE
        )
        self._chat: ChatTemplate | None = None
        if render == "chat":
            self._chat = ChatTemplate(tokenizer, self._encoder, time_limit_s)
        ends: Any = tokenizer.eos_token_id if self._chat is None else self._chat.terminator
        self.terminator: int = ends
        self._adds_bos: bool = self._bos is not None and tokenizer.encode("a")[:1] == [self._bos]
        self.template_hash: str = fingerprint(
            {
                "render": render,
                "score_turns": score_turns,
                "template": tokenizer.chat_template if render == "chat" else None,
                "terminator": self.terminator,
                "specials": tokenizer.special_tokens_map,
            }
        )

    @property
    def origin(self) -> str:
        """Where the template comes from, in words."""
        if self.render == "plain":
            return "none is used: text is rendered plain"
        if self.had_no_template:
            return "none comes with the model: luce's default, which the exported model keeps"
        return "luce's default" if self.default_template else "the model's own"

    def prompt_ids(
        self,
        prompt: Text,
        tools: Sequence[Any] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        place: Place = _NOWHERE,
    ) -> list[int]:
        """The ids a response is generated after: those `group` gives for the same prompt.

        Raises:
            RowError: the prompt is no prompt, or the template refuses or cuts it.
            StuckTemplate: the template took too long, for this prompt or an earlier one.
        """
        check_prompt(prompt, place)
        if self._chat is None:
            return self._plain_prompt(prompt, place)
        turns = as_turns(prompt, "user")
        hidden = self._encoder.hide(turns, tools, chat_template_kwargs)
        try:
            return self._chat.prompt(turns, tools, chat_template_kwargs or {}, hidden, []).ids
        except StuckTemplate as error:
            raise error.at(place) from None
        except DataError as error:
            raise _as_row_error(error, place, None) from error

    def response_text(self, ids: Sequence[int]) -> str:
        """A generated response as text: up to the terminator, without the space that the default
        template puts before it."""
        kept = list(ids)
        if self.terminator in kept:
            kept = kept[: kept.index(self.terminator)]
        text = self.tokenizer.decode(
            kept, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text.removeprefix(" ") if self.default_template else text

    def group(self, row: Row) -> Group:
        """The row as token ids; `RowError` names what is wrong with it."""
        return self.group_and_notes(row)[0]

    def group_and_notes(self, row: Row) -> tuple[Group, list[Note]]:
        """The row as token ids, and what the template changed in it (white space trimmed).

        Raises:
            RowError: what is wrong with the row.
            StuckTemplate: the template took too long, for this row or an earlier one.
        """
        check_row(row)
        notes: list[Note] = []
        try:
            if row.token_ids is not None:
                prompt, branches = self._sampled(row, row.token_ids)
            elif self._chat is None or is_running_text(row):
                prompt, branches = self._plain(row)
            else:
                prompt, branches = self._rendered(self._chat, row, notes)
        except StuckTemplate as error:
            raise error.at(row.place) from None
        except DataError as error:
            raise _as_row_error(error, row.place, row.id) from error
        return _group(row, prompt, branches), notes

    def _rendered(
        self, chat: ChatTemplate, row: Row, notes: list[Note]
    ) -> tuple[list[int], list[Branch]]:
        responses = [(name, as_turns(r, "assistant")) for name, r in responses_of(row)]
        turns = as_turns(row.prompt, "user")
        hidden: Hidden = self._encoder.hide(
            turns, [r for _, r in responses], row.tools, row.chat_template_kwargs
        )
        prompt = chat.prompt(turns, row.tools, row.chat_template_kwargs, hidden, notes)
        branches = [
            chat.branch(prompt, name, response, notes, last_only=self.score_turns == "last")
            for name, response in responses
        ]
        return prompt.ids, branches

    def _sampled(self, row: Row, ids: TokenIds) -> tuple[list[int], list[Branch]]:
        """The tokens that were sampled, if this tokenizer and template read them as the text."""
        expected = self.prompt_ids(row.prompt, row.tools, row.chat_template_kwargs, row.place)
        if list(ids.prompt) != expected:
            raise _other_tokens(row, "prompt")
        branches = []
        for name, response in responses_of(row):
            own = ids.responses.get(response) if isinstance(response, str) else None
            if own is None or self.response_text(own) != response:
                raise _other_tokens(row, name)
            branches.append(_all_scored(list(own)))
        return list(ids.prompt), branches

    def _plain(self, row: Row) -> tuple[list[int], list[Branch]]:
        bodies = []
        for name, response in responses_of(row):
            text = _plain_text(response, name, row.place)
            continues = bool(row.prompt)
            bodies.append([*self._encoder.row(text, continues), self.terminator])
        if is_running_text(row):
            if self._bos is not None:
                prompt = [self._bos]
            else:
                # Without a BOS the first token has nothing to be predicted from.
                prompt, bodies = bodies[0][:1], [bodies[0][1:]]
        else:
            prompt = self._plain_prompt(row.prompt, row.place)
        return prompt, [_all_scored(body) for body in bodies]

    def _plain_prompt(self, prompt: Text, place: Place) -> list[int]:
        ids = self._encoder.row(_plain_text(prompt, "prompt", place), continues=False)
        return [self._bos, *ids] if self._bos is not None and self._adds_bos else ids


def _plain_text(value: Text, field: str, place: Place) -> str:
    if isinstance(value, str):
        return value
    raise RowError(place, field, "form", "turns cannot be rendered plain. Set data.render: chat.")


def _all_scored(ids: list[int]) -> Branch:
    return Branch(np.asarray(ids, dtype=np.int32), np.ones(len(ids), dtype=bool))


def _other_tokens(row: Row, field: str) -> RowError:
    return RowError(
        row.place, f"token_ids.{field}", "token",
        f"these ids are not the `{field}` by this model's tokenizer and template. They were "
        "sampled from another model; leave the column out, and the text is tokenized.", row.id,
    )  # fmt: skip


def _as_row_error(error: DataError, place: Place, id: str | None) -> RowError:
    if isinstance(error, RowError):
        return error.at(place, id)
    return RowError(place, "", "token", str(error), id)


def _group(row: Row, prompt: list[int], branches: list[Branch]) -> Group:
    label, margin, scores, sampled, ratings = 1.0, float("nan"), (), float("nan"), ()
    match row:
        case Preference():
            label = row.label
            margin = margin if row.margin is None else row.margin
            if row.reference_sample is not None:
                sampled = 1.0 if row.reference_sample == "chosen" else 0.0
            if row.score_chosen is not None and row.score_rejected is not None:
                scores = (row.score_chosen, row.score_rejected)
            if row.ratings_chosen is not None or row.ratings_rejected is not None:
                ratings = (row.ratings_chosen or {}, row.ratings_rejected or {})
            if np.array_equal(branches[0].ids, branches[1].ids):
                raise RowError(row.place, "rejected", "identical", "the same tokens as `chosen` "
                               "once the template has rendered both.", row.id)  # fmt: skip
        case Feedback():
            label = 1.0 if row.label else 0.0
        case Ranking():
            scores = row.scores
    return Group(
        prompt=np.asarray(prompt, dtype=np.int32),
        branches=tuple(branches),
        id=row.id,
        place=row.place,
        label=label,
        weight=row.weight,
        margin=margin,
        scores=scores,
        reference_sample=sampled,
        ratings=ratings,
        annotator=row.annotator,
        source=row.source,
    )


__all__ = ["DEFAULT_TEMPLATE", "Message", "Note", "Renderer"]
