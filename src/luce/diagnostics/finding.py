"""What a diagnostic says: in words, whether it is an alarm, and what to do about it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """A diagnostic's answer.

    Attributes:
        words: what was seen, with its numbers.
        alarm: whether it should keep the reader from using the model as it is.
        remedy: what to do about an alarm.
    """

    words: str
    alarm: bool = False
    remedy: str | None = None

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {"words": self.words, "alarm": self.alarm, "remedy": self.remedy}
