"""Asks a judge many questions: as fast as allowed, each one once, with everything kept.

What is in the store and can be read is not asked. A question that another run is asking is left to
it, and its answer is taken from the store. A run that was killed has lost the calls that were under
way and nothing else.
"""

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from luce.annotate.judge.backend import Ask, Settings, Temporary
from luce.annotate.judge.call import Call, Question
from luce.annotate.judge.limits import Budget, OutOfMoney, Pace
from luce.annotate.judge.owner import owner_name
from luce.annotate.judge.reply import Parsed, Reply
from luce.annotate.judge.setup import Setup, stored
from luce.annotate.judge.template import Messages
from luce.errors import LuceError

IN_A_ROW = 3
"""So many questions given up one after another, and none answered in between, end a run."""

FIRST_CONTACT = 2
"""The retry after which a run ends that has had no connection at all."""

_POLL_S = 0.2
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Asked:
    """What a run made of its questions.

    Attributes:
        found: key → the call that counts and what it says; invalid where no attempt could be read.
        pending: key → why it has no answer: "429", "timeout", "max_cost", "stopped" …
        stopped: why the run ended early, in words; "" where it did not.
        calls: calls of this run that were answered.
        failures: kind → failed tries of this run.
        cost: USD of the answered calls; None where a price is unknown.
        spent: USD that they cost at most, tries without an answer included.
    """

    found: Mapping[str, tuple[Call, Parsed]]
    pending: Mapping[str, str]
    stopped: str
    calls: int
    failures: Mapping[str, int]
    cost: float | None
    spent: float


def ask_all(
    questions: Sequence[tuple[Question, Messages]],
    setup: Setup,
    answered: Callable[[int], object] = lambda done: None,
) -> Asked:
    """The answers to all questions, from the store where it has them. `answered` hears how many
    are done.

    Raises:
        LuceError: the back-end says something that no repetition mends, such as a wrong key; or
            `max_cost` is given and the prices are not. What was answered before is stored.
    """
    if setup.limits.max_cost is not None and not setup.backend.prices.known:
        raise LuceError(
            "max_cost needs prices, in USD per million tokens: prices=Prices(per_million_in=…, "
            "per_million_out=…) of the back-end, --price-in and --price-out of a command, price_in "
            "and price_out in a jury's file."
        )

    async def run() -> Asked:
        return await _Run(questions, setup, answered).everything()

    return run_to_end(run())


def run_to_end(work: Coroutine[Any, Any, _Result]) -> _Result:
    """The result of a coroutine, also where a loop is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    outcome: list[_Result] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(asyncio.run(work))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


class _GivenUp(Exception):
    """A question that is left for another run."""


class _Run:
    """The state of one run, inside its event loop."""

    def __init__(
        self,
        questions: Sequence[tuple[Question, Messages]],
        setup: Setup,
        answered: Callable[[int], object],
    ):
        self.setup, self.answered, self.owner = setup, answered, owner_name()
        self.pace, self.budget = (
            Pace(setup.limits.requests_per_minute),
            Budget(setup.limits.max_cost),
        )
        every = {question.key: (question, messages) for question, messages in questions}
        self.found = stored(list(every), setup)
        self.waiting = deque(item for item in every.items() if item[0] not in self.found)
        self.pending: dict[str, str] = {}
        self.failures: Counter[str] = Counter()
        self.costs: list[float | None] = []
        self.stopped, self.given_up, self.rejected, self.refused = "", 0, 0, 0

    async def everything(self) -> Asked:
        template, known = self.setup.template, self.setup.backend.prices.known
        self.answered(len(self.found))
        if self.waiting:
            self.setup.store.keep_template(template.hash, template.name, template.turns)
            await self._work()
        self.pending |= {key: "stopped" for key, _ in self.waiting}
        paid = [cost for cost in self.costs if cost is not None]
        return Asked(
            *(self.found, self.pending, self.stopped, len(self.costs), dict(self.failures)),
            cost=float(sum(paid)) if known and len(paid) == len(self.costs) else None,
            spent=self.budget.spent,
        )

    async def _work(self) -> None:
        async with self.setup.backend.connect() as ask:
            count = min(self.setup.limits.concurrency, len(self.waiting))
            workers = [asyncio.create_task(self._worker(ask)) for _ in range(count)]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
                self.setup.store.release(self.owner)

    async def _worker(self, ask: Ask) -> None:
        while not self.stopped and self.waiting:
            key, (question, messages) = item = self.waiting.popleft()
            if not self.setup.store.claim(key, self.owner):
                self.waiting.append(item)
                self.refused += 1
                if self.refused >= len(self.waiting):  # others are at all that is left
                    self.refused = 0
                    await self.pace.rest(_POLL_S)
                continue
            self.refused = 0
            # another run may have answered it just before we had the claim
            answer = stored([key], self.setup).get(key)
            try:
                self.found[key] = answer or await self._one(ask, question, messages)
                self.answered(len(self.found))
            except _GivenUp as reason:
                self.pending[key] = str(reason)
            finally:
                self.setup.store.release(self.owner, key)

    async def _one(self, ask: Ask, question: Question, messages: Messages) -> tuple[Call, Parsed]:
        """The first reply that can be read, or the last of those that cannot."""
        attempt = len(self.setup.store.calls([question.key]).get(question.key, []))
        last = attempt + self.setup.limits.parse_retries
        settings, prices = self.setup.asked(), self.setup.backend.prices
        while True:
            seed = None if settings.seed is None else settings.seed + attempt
            reply, most = await self._call(ask, messages, replace(settings, seed=seed))
            parsed = self.setup.parser(reply)
            cost, name = prices.of(reply.tokens_in, reply.tokens_out), self.setup.parser.name
            # kept before anything else is awaited: a kill loses no call that was answered
            call = self.setup.store.record(
                question, reply, cost=cost, seed=seed, parser=name, parsed=parsed
            )
            self.costs.append(cost)
            await self.budget.settle(most, most if cost is None else cost)
            if parsed.reason == "rejected":
                self._count_rejected(reply.text)
            if parsed.valid or parsed.reason == "rejected" or attempt == last:
                return call, parsed
            attempt += 1

    async def _call(self, ask: Ask, messages: Messages, settings: Settings) -> tuple[Reply, float]:
        """A reply, and what was set aside for it."""
        limits, most, kind = self.setup.limits, self.setup.most(messages), ""
        for retry in range(limits.retries + 1):
            await self._set_aside(most)
            await self.pace.turn()
            if self.stopped:
                raise _GivenUp("stopped")
            try:
                async with asyncio.timeout(float(limits.timeout_s)):
                    reply = await ask(messages, settings)
                self.given_up = 0
                return reply, most
            except (Temporary, TimeoutError) as error:
                kind = error.kind if isinstance(error, Temporary) else "timeout"
                asked = error.wait_s if isinstance(error, Temporary) else None
                # a server that was too slow may have charged for its work
                await self.budget.settle(most, most if kind == "timeout" else 0.0)
            self.failures[kind] += 1
            if retry == FIRST_CONTACT and set(self.failures) == {"connection"} and not self.costs:
                model = self.setup.backend.model
                self._stop(
                    f"no connection to the judge {model!r}; is it running, and base_url right?"
                )
            wait = max(asked or 0.0, limits.wait_s(retry))
            if retry == limits.retries or wait > limits.longest_wait_s:
                break
            if asked is not None:
                self.pace.hold(asked)
            await self.pace.rest(wait)
        self.given_up += 1
        if self.given_up >= IN_A_ROW:
            self._stop(f"{self.given_up} questions in a row had no answer, the last: {kind}")
        raise _GivenUp(kind)

    async def _set_aside(self, most: float) -> None:
        try:
            await self.budget.set_aside(most)
        except OutOfMoney:
            limit, spent = self.setup.limits.max_cost, self.budget.spent
            self._stop(f"the next call might exceed max_cost (${limit:g}; spent ${spent:.4g})")
            raise _GivenUp("max_cost") from None

    def _stop(self, why: str) -> None:
        self.stopped = self.stopped or why
        self.pace.halt()

    def _count_rejected(self, text: str) -> None:
        """One row may be too long for the model; if nothing else comes, the request is wrong."""
        self.rejected += 1
        if self.rejected == len(self.costs) == IN_A_ROW:
            raise LuceError(
                f"The judge {self.setup.backend.model!r} rejects every request. It says: "
                f"{' '.join(text.split())[:300]!r}. See the settings (extra, temperature, seed) "
                "and max_tokens_field."
            )
