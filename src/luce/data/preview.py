"""What a group looks like to the model: ids, tokens, and which of them are scored."""

from dataclasses import dataclass
from typing import Any

from luce.types import Branch, Group


@dataclass(frozen=True)
class TokenView:
    """A token: its id, its text, and whether its log-probability counts."""

    id: int
    text: str
    scored: bool


@dataclass(frozen=True)
class GroupView:
    """A group, token by token.

    Attributes:
        place, id: of the row.
        prompt: none of these tokens is scored.
        responses: chosen first.
        label, weight: of the group.
        text: the prompt and the responses, decoded; what is scored stands between ⟦ and ⟧.
    """

    place: str
    id: str
    prompt: tuple[TokenView, ...]
    responses: tuple[tuple[TokenView, ...], ...]
    label: float
    weight: float

    text: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.place}  id {self.id}  label {self.label:g}  weight {self.weight:g}"]
        parts = (self.prompt, *self.responses)
        for i, (tokens, text) in enumerate(zip(parts, self.text, strict=True)):
            name = "prompt" if i == 0 else _name(i - 1, len(self.responses))
            ids = " ".join(f"{t.id}{'*' if t.scored else ''}" for t in tokens)
            scored = sum(t.scored for t in tokens)
            lines += [f"  {name}: {len(tokens)} tokens, {scored} scored", f"    {text!r}"]
            lines.append(f"    {ids}")
        return "\n".join(lines)


def preview(group: Group, tokenizer: Any) -> GroupView:
    """The group token by token; as text it marks the scored ids with a star."""
    return GroupView(
        place=str(group.place),
        id=group.id,
        prompt=tuple(_view(i, tokenizer, False) for i in group.prompt.tolist()),
        responses=tuple(_branch(b, tokenizer) for b in group.branches),
        label=group.label,
        weight=group.weight,
        text=(
            _decode(group.prompt.tolist(), tokenizer),
            *(_marked(branch, tokenizer) for branch in group.branches),
        ),
    )


def _branch(branch: Branch, tokenizer: Any) -> tuple[TokenView, ...]:
    return tuple(
        _view(i, tokenizer, scored)
        for i, scored in zip(branch.ids.tolist(), branch.scored.tolist(), strict=True)
    )


def _view(id: int, tokenizer: Any, scored: bool) -> TokenView:
    return TokenView(id, _decode([id], tokenizer), scored)


def _name(number: int, of: int) -> str:
    return ("chosen", "rejected")[number] if of == 2 else f"response {number + 1}"


def _marked(branch: Branch, tokenizer: Any) -> str:
    # Runs are decoded whole: a character may be spread over several tokens.
    shown, start = "", 0
    for end in range(1, len(branch) + 1):
        if end == len(branch) or branch.scored[end] != branch.scored[start]:
            run = _decode(branch.ids[start:end].tolist(), tokenizer)
            shown += f"⟦{run}⟧" if branch.scored[start] else run
            start = end
    return shown


def _decode(ids: list[int], tokenizer: Any) -> str:
    return tokenizer.decode(ids, clean_up_tokenization_spaces=False)
