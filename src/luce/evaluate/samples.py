"""What two policies answer to the same prompts, row by row: the lines of samples.jsonl."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from luce.errors import LuceError
from luce.types import Scorer, Text


@dataclass(frozen=True)
class Generation:
    """One sampled response.

    Attributes:
        text: the response without its end-of-turn token.
        tokens: how many tokens were sampled, the end-of-turn token included.
        ended: True where the policy ended the response itself; False where the limit cut it.
    """

    text: str
    tokens: int
    ended: bool


def sample_side_by_side(
    prompts: Sequence[Text],
    before: Callable[[Sequence[Text]], Sequence[Generation]],
    after: Callable[[Sequence[Text]], Sequence[Generation]],
    *,
    scorer: Scorer | None = None,
) -> list[dict[str, Any]]:
    """One row per prompt with the response of the initial and of the trained policy.

    Args:
        prompts: texts or turns.
        before, after: generate one response to each prompt, in order.
        scorer: grades both responses; rewards are None without one.

    Returns rows of samples.jsonl: `prompt, before, after, before_tokens, after_tokens,
    before_ended, after_ended, before_reward, after_reward`.

    Raises:
        LuceError: where a generator does not answer every prompt once.
    """
    old, new = list(before(prompts)), list(after(prompts))
    for name, generations in (("before", old), ("after", new)):
        if len(generations) != len(prompts):
            raise LuceError(
                f"The policy `{name}` gave {len(generations)} responses to {len(prompts)} prompts; "
                "it must answer each once."
            )
    rows = []
    for prompt, first, second in zip(prompts, old, new, strict=True):
        rewards: Sequence[float | None] = [None, None]
        if scorer is not None:
            rewards = [float(r) for r in scorer(prompt, [first.text, second.text])]
        rows.append(
            {
                "prompt": as_plain_text(prompt),
                "before": first.text,
                "after": second.text,
                "before_tokens": first.tokens,
                "after_tokens": second.tokens,
                "before_ended": first.ended,
                "after_ended": second.ended,
                "before_reward": rewards[0],
                "after_reward": rewards[1],
            }
        )
    return rows


def as_plain_text(text: Text) -> str:
    """A prompt as one string for people to read; a lone user turn is its content, several turns
    are `role: content` blocks.

    >>> as_plain_text(({"role": "user", "content": "Hello"},))
    'Hello'
    """
    if isinstance(text, str):
        return text
    if len(text) == 1 and text[0].get("role") == "user":
        return _content(text[0])
    return "\n\n".join(f"{turn.get('role', '?')}: {_content(turn)}" for turn in text)


def _content(turn: Any) -> str:
    content = turn.get("content")
    if isinstance(content, list):  # blocks, as templates for several modalities have them
        return "".join(str(block.get("text", f"[{block.get('type')}]")) for block in content)
    return "" if content is None else str(content)
