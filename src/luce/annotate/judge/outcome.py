"""What a run came to: verdicts, what is left, and what it cost; and what one would cost."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from luce.annotate.judge.verdict import Grade, Summary, Verdict, summary


@dataclass(frozen=True)
class Pending:
    """What has no answer yet: run again to ask. `id` is of a comparison or a response, `order` ""
    for a response, `why` "429", "timeout", "max_cost", "stopped" …"""

    id: str
    order: str
    why: str


@dataclass(frozen=True)
class JudgeRun:
    """What a run over comparisons came to.

    Attributes:
        verdicts: of every comparison in every order that has an answer, valid or not, in order.
        pending: the others.
        stopped: why the run ended early, in words; "" where it did not.
        prompts: comparison id → its prompt, which intervals draw.
        calls: calls of this run that were answered; the other answers were stored before.
        failures: kind → tries of this run that failed and were repeated.
        cost: USD of these calls; None where a price or a number of tokens is unknown.
        spent: USD that this run cost at most.
    """

    verdicts: tuple[Verdict, ...]
    pending: tuple[Pending, ...]
    stopped: str
    prompts: Mapping[str, Hashable]
    calls: int
    failures: Mapping[str, int]
    cost: float | None
    spent: float

    def summary(self, seed: int = 0) -> Summary:
        """Win rate of a, with its interval and the bounds that invalid verdicts leave."""
        return summary(self.verdicts, self.prompts, seed=seed)

    def left(self) -> str:
        """What is not done, and why, in a sentence; "" where all is done."""
        return _left(self.pending, self.stopped)


@dataclass(frozen=True)
class GradeRun:
    """What a run over single responses came to; the attributes are those of a `JudgeRun`."""

    grades: tuple[Grade, ...]
    pending: tuple[Pending, ...]
    stopped: str
    calls: int
    failures: Mapping[str, int]
    cost: float | None
    spent: float

    def left(self) -> str:
        """What is not done, and why, in a sentence; "" where all is done."""
        return _left(self.pending, self.stopped)


@dataclass(frozen=True)
class Plan:
    """What a run would ask, without asking.

    Attributes:
        verdicts: that are wanted: comparisons × orders, or responses.
        identical: of two equal texts, which are ties without a call.
        stored: that the store has an answer to, or that share a call with another.
        calls: that would be made, if every reply can be read.
        tokens_in: an estimate of what would be sent: a token is taken for four bytes.
        tokens_out: an estimate of what would come back: the mean of what the store has of this
            model and template, or the limit where it has nothing.
        cost: USD of these tokens; None where the prices are unknown.
        most: USD that no run without retries can exceed: a token has one byte at least.
    """

    verdicts: int
    identical: int
    stored: int
    calls: int
    tokens_in: int
    tokens_out: int
    cost: float | None
    most: float | None

    def __add__(self, other: "Plan") -> "Plan":
        """Both plans together; the price is known where both are."""
        cost, most = (
            None if a is None or b is None else a + b
            for a, b in ((self.cost, other.cost), (self.most, other.most))
        )
        return Plan(
            *(self.verdicts + other.verdicts, self.identical + other.identical),
            *(self.stored + other.stored, self.calls + other.calls),
            *(self.tokens_in + other.tokens_in, self.tokens_out + other.tokens_out),
            cost=cost,
            most=most,
        )

    def lines(self) -> list[str]:
        """Words and numbers for a terminal."""
        price = "prices unknown"
        if self.cost is not None and self.most is not None:
            price = f"about ${self.cost:.4g}, at most ${self.most:.4g}"
        return [
            f"{self.verdicts:,} verdicts: {self.calls:,} calls to make, {self.stored:,} stored, "
            f"{self.identical:,} ties of equal texts",
            f"about {self.tokens_in:,} tokens in and {self.tokens_out:,} out; {price}",
        ]


def _left(pending: Sequence[Pending], stopped: str) -> str:
    if not pending:
        return ""
    kinds = ", ".join(sorted({one.why for one in pending} - {"stopped"}))
    why = stopped or f"no answer ({kinds})"
    return f"{len(pending)} left without an answer: {why}. Run again to ask only for these."
