"""What an audit has to say: findings, each in words with its numbers."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """Something that the data will teach, or that is wrong with them.

    Attributes:
        name: what it is about: `length`, `duplicate` …
        sentence: what was seen, with counts and interval.
        remedy: what can be done.
        rows: how many rows it is about; 0 where it is about the set as a whole.
        examples: places of a few of them.
    """

    name: str
    sentence: str
    remedy: str
    rows: int = 0
    examples: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "name": self.name,
            "sentence": self.sentence,
            "remedy": self.remedy,
            "rows": self.rows,
            "examples": list(self.examples),
        }
