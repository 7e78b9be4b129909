"""`--set name=value` pairs."""

from collections.abc import Sequence
from typing import Any

from luce.errors import LuceError


def parse_settings(texts: Sequence[str], flag: str = "--set") -> dict[str, Any]:
    """Name → value, read as YAML: numbers, true and false, text, and lists of these.

    >>> parse_settings(["beta=1e-1", "K=2", "per_token=true", "nll=sum"])
    {'beta': 0.1, 'K': 2, 'per_token': True, 'nll': 'sum'}
    >>> parse_settings(["weights=[0.8,0.2,1]"])
    {'weights': [0.8, 0.2, 1]}
    """
    from luce.recipe.yaml12 import parse_yaml

    settings: dict[str, Any] = {}
    for text in texts:
        name, sign, raw = text.partition("=")
        if not sign or not name:
            raise LuceError(f"{flag}: expected `name=value`, got {text!r}.")
        settings[name] = parse_yaml(raw, f"{flag} {name}").value
    return settings
