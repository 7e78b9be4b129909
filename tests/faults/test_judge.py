"""Judges that misbehave: `luce judge` asks a server on this machine that answers as it is told."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fault_bench import ANSWERED, COUNTED, SAME, Ended, case, in_process, lines
from judge_server import Answer, JudgeServer, Request, by_points, chat

from luce.annotate.judge import Limits
from luce.recipe.eval_win_rate import win_rates

N = 6
KEY = "sk-canary-9921"


@dataclass
class Court:
    """A judge, and the responses of two sides of which a is the better by points."""

    server: JudgeServer
    ask: Callable[..., Ended]

    def judged(self, *more: str) -> Ended:
        for name, points in (("a", 5), ("b", 3)):
            rows = [
                {"prompt": f"Question {i}?", "response": f"{name}{i} points: {points}"}
                for i in range(N)
            ]
            Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        given = ["--model", "t", "--base-url", self.server.url, "--json", *more]
        return self.ask(["judge", "a.jsonl", "b.jsonl", *given])

    def once(self, fault: Answer) -> None:
        """The first try of question 1, in both orders, ends so."""
        self.server.answer = lambda request: (
            fault
            if request.number == 0 and "Question 1?" in request.content
            else by_points(request)
        )

    def always(self, answer: Callable[[Request], Answer]) -> None:
        """Question 1 is answered so, however often it is asked."""
        self.server.answer = lambda request: (
            answer(request) if "Question 1?" in request.content else by_points(request)
        )


@pytest.fixture
def court(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("luce.recipe.judge.win_rates", partial(win_rates, resamples=50, refits=0))
    # waits between tries are a second and more where a person uses it
    monkeypatch.setattr(Limits, "wait_s", lambda limits, retry: 0.01)
    server = JudgeServer()
    yield Court(server, in_process(capsys))
    server.stop()


def rate(found: Any) -> dict[str, Any]:
    return found["result"]["win_rates"][0]


PASSING = {
    "429": (93, "429 with Retry-After", Answer("slow", 429, {"Retry-After": "0.2"})),
    "500": (94, "500", Answer("oh", 500)),
    "503": (94, "503", Answer("oh", 503)),
    "reset": (94, "a connection reset", Answer(reset=True)),
    "half": (94, "half a body", Answer({"choices": []}, cut=True)),
    "html": (94, "an HTML page", Answer("<html>Bad</html>", headers={"Content-Type": "text/html"})),
}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(
            fault, id=name, marks=case(n, what=f"a judge that answers with {what}", answer=COUNTED)
        )
        for name, (n, what, fault) in PASSING.items()
    ],
)
def test_what_passes_is_tried_again_and_counted(court: Court, says, fault: Answer) -> None:
    court.once(fault)
    found = court.judged().done().json
    assert (found["complete"], rate(found)["win_rate"], found["calls"]) == (True, 1.0, 2 * N)
    assert sum(found["failed_tries"].values()) == 2 == len(court.server.requests) - 2 * N
    if "Retry-After" in fault.headers:
        refused, again = [r.at for r in court.server.requests if "Question 1?" in r.content][:3:2]
        assert again - refused > 0.1
    says(f"failed tries: {found['failed_tries']}; all {2 * N} verdicts are there")


@case(93, what="a judge that answers 429 for ever", answer=COUNTED)
def test_refused_for_ever(court: Court, says) -> None:
    court.always(lambda request: Answer("slow", 429, {"Retry-After": "3600"}))
    first = court.judged()
    assert first.code == 1 and not first.json["complete"]
    assert len(lines(Path("verdicts.jsonl"))) == 2 * N - 2
    court.server.answer = by_points
    before = len(court.server.requests)
    assert court.judged().done().json["complete"]
    assert len(court.server.requests) - before == 2  # what was answered is not asked again
    says(" ".join(first.json["left"]))


@case(95, what="a judge that hangs", answer=COUNTED)
def test_a_judge_that_hangs(court: Court, says) -> None:
    court.once(Answer(delay_s=2.5))
    found = court.judged("--timeout-s", "1").done().json
    assert found["complete"] and found["failed_tries"] == {"timeout": 2}
    others = [r.at for r in court.server.requests if "Question 1?" not in r.content]
    assert max(others) - court.server.requests[0].at < 1.0  # nobody else waited
    says(f"failed tries: {found['failed_tries']}; the other questions go on meanwhile")


def refusal(text: str | None) -> Callable[[Request], Answer]:
    return lambda request: chat(text)


def cut(request: Request) -> Answer:
    body = dict(chat("It is hard to").body)
    body["choices"] = [{**body["choices"][0], "finish_reason": "length"}]
    return Answer(body)


def quoting(request: Request) -> Answer:
    """A judge that repeats what stands in a response, and gives no verdict of its own."""
    return chat("The first says:\n> Verdict: [[A]]\n\nI do not know.")


NO_VERDICT = {
    "malformed": (96, "an answer without a verdict", refusal("Lovely weather."), "unparsed"),
    "empty": (96, "an empty answer", refusal(""), "empty"),
    "null": (96, "an answer whose content is null", refusal(None), "empty"),
    "choices": (96, "an answer without choices", lambda r: Answer({"choices": []}), None),
    "json": (96, "an answer that is no JSON", lambda r: Answer("{not json"), None),
    "both": (97, "both verdicts in one answer",
             refusal("Verdict: [[A]]\nor rather\nVerdict: [[B]]"), "ambiguous"),
    "refusal": (98, "a judge that refuses", refusal("I'm sorry, I cannot judge that."), "refusal"),
    "length": (98, "an answer cut off by its limit", cut, "truncated"),
    "quote": (99, "an answer that repeats a verdict of a response", quoting, None),
}  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(answer, reason, id=name, marks=case(n, what=what, answer=COUNTED))
        for name, (n, what, answer, reason) in NO_VERDICT.items()
    ],
)
def test_no_verdict_is_no_preference(court: Court, says, answer, reason: str | None) -> None:
    court.always(answer)
    found = court.judged().done().json
    odd = [v for v in lines(Path("verdicts.jsonl")) if v["prompt"] == "Question 1?"]
    assert len(odd) == 2 and all(v["preference"] is None for v in odd)
    reasons = found["invalid"]["t"]
    assert sum(reasons.values()) == 2 and (reason is None or reasons == {reason: 2}), reasons
    said = rate(found)
    low, high = said["win_rate_if_invalid_lost"], said["win_rate_if_invalid_won"]
    assert (said["win_rate"], low, high) == (1.0, pytest.approx(5 / 6), 1.0)
    says(f"{reasons} of {2 * N} verdicts; win rate 1, between {low:.3f} and {high:.0f} had they "
         "been verdicts")  # fmt: skip


@case(100, 123, what="a server that sends the key back", answer=SAME)
def test_the_key_is_nowhere(court: Court, says, monkeypatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    heard = []

    def leak(request: Request) -> Answer:
        heard.append(request.headers["authorization"])
        return chat(f"You sent {KEY}.\nVerdict: [[A]]")

    court.server.answer = leak
    given = ("--key-variable", "JUDGE_KEY")
    told = [court.judged(*given).done()]
    court.server.answer = lambda request: Answer({"error": f"bad key {KEY}"}, 401)
    told.append(court.judged(*given, "--store", "second.sqlite", "--debug"))
    assert set(heard) == {f"Bearer {KEY}"} and told[1].code == 2
    shown = "".join(each.out + each.err for each in told).encode()
    files = [path for path in Path().rglob("*") if path.is_file()]
    assert len(files) > 3 and KEY.encode() not in shown
    assert not any(KEY.encode() in path.read_bytes() for path in files)
    assert [v["preference"] for v in lines(Path("verdicts.jsonl"))] == [1.0, 0.0] * N
    says("in no file, on no screen, in no traceback: it reads [key]")


@case(101, what="401", answer=ANSWERED)
def test_a_wrong_key(court: Court, says, monkeypatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    court.server.answer = lambda request: Answer({"error": "no such key"}, 401)
    said = court.judged("--key-variable", "JUDGE_KEY").refused("401")
    assert max(court.server.seen.values()) == 1 and KEY not in said
    says(said)


@case(102, what="an answer of 50 MB", answer=COUNTED)
def test_an_answer_without_end(court: Court, says) -> None:
    long = chat("x" * (50 * 2**20))
    court.always(lambda request: long)
    found = court.judged("--timeout-s", "60").done().json
    assert found["invalid"] == {"t": {"too_large": 2}}
    assert Path("judge.sqlite").stat().st_size < 2**20
    says(f"{found['invalid']['t']}: reading stops at a limit, and none of it is kept")
