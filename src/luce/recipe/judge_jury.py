"""A file of judges: who sits on a jury.

- {model: judge-a, base_url: …, key_variable: A_KEY, price_in: 1.0, price_out: 4.0}
- {local: runs/judge/model, template: label_logprobs}
- {reward: runs/rm, name: rewards}
- {annotator: mine:prefers}
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from luce.errors import LuceError, did_you_mean
from luce.recipe.judge_members import Member, Prompted, better_reward, own_annotator, prompted
from luce.recipe.yaml12 import parse_yaml

_WHO: dict[str, tuple[str, ...]] = {
    "model": ("base_url", "key_variable", "template", "price_in", "price_out"),
    "local": ("template",),
    "reward": ("kind", "reference"),
    "annotator": (),
}
"""What names a judge → what else may be said of it."""

_KINDS = ("reward", "pairwise", "policy")


def read_jury(path: Path, shared: Prompted) -> tuple[Member, ...]:
    """The members of a jury, from a YAML file that lists them.

    Args:
        shared: template, store and limits of those that do not say them.

    Raises:
        LuceError: the file cannot be read, an entry names nobody or several, has an unknown key or
            a wrong value, or two have one name.
    """
    try:
        listed = parse_yaml(path.read_text(encoding="utf-8"), str(path)).value
    except (OSError, UnicodeDecodeError) as error:
        raise LuceError(f"{path}: cannot be read ({error}).") from None
    if not isinstance(listed, list) or not listed:
        raise LuceError(
            f"{path}: a list of judges is expected, each with one of {', '.join(_WHO)}."
        )
    found: dict[str, Member] = {}
    for number, entry in enumerate(listed, start=1):
        member = _member(entry, f"{path}: judge {number}", shared)
        if member.name in found:
            raise LuceError(
                f"{path}: judge {number}: {member.name!r} sits there already. Give one of the two "
                "another `name`."
            )
        found[member.name] = member
    return tuple(found.values())


def _member(entry: Any, place: str, shared: Prompted) -> Member:
    who = [name for name in _WHO if isinstance(entry, dict) and name in entry]
    if len(who) != 1:
        raise LuceError(f"{place}: give one of {', '.join(_WHO)}.")
    (kind,) = who
    known = (kind, "name", *_WHO[kind])
    for key in entry:
        if key not in known:
            raise LuceError(f"{place}: {key}: not of a {kind}. {did_you_mean(str(key), known)}")
    source, name = _text(entry, kind, place), _text(entry, "name", place)
    assert source is not None  # it is what names the judge
    name = name or (source if kind in ("model", "annotator") else Path(source).name)
    if kind == "annotator":
        return Member(name, own_annotator(source))
    if kind == "reward":
        graded = _text(entry, "kind", place)
        if graded is not None and graded not in _KINDS:
            raise LuceError(f"{place}: kind: {did_you_mean(graded, _KINDS)}")
        return Member(name, better_reward(source, graded, _text(entry, "reference", place)))
    template = _text(entry, "template", place)
    asked = replace(
        shared,
        model=source,
        base_url=_text(entry, "base_url", place),
        key_variable=_text(entry, "key_variable", place),
        template=template or shared.template,
        parser=shared.parser if template is None else None,
        prices=_prices(entry, place),
        here=kind == "local",
    )
    return Member(name, prompted(asked))


def _text(entry: dict[str, Any], key: str, place: str) -> str | None:
    value = entry.get(key)
    if value is None and key not in entry:
        return None
    if not isinstance(value, str) or not value:
        raise LuceError(f"{place}: {key}: text is expected, found {value!r}.")
    return value


def _prices(entry: dict[str, Any], place: str) -> tuple[float, float] | None:
    found = [entry.get(key) for key in ("price_in", "price_out")]
    if found == [None, None]:
        return None
    numbers = [x for x in found if isinstance(x, int | float) and not isinstance(x, bool)]
    if len(numbers) != 2 or min(numbers) < 0:
        raise LuceError(
            f"{place}: price_in and price_out: give both, in USD per million tokens, 0 or more."
        )
    return float(numbers[0]), float(numbers[1])
