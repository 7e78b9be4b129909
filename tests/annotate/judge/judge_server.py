"""A judge for the tests: an HTTP server in a thread that answers as it is told and keeps count."""

import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from luce.annotate.judge import Limits, OpenAICompatible
from luce.types import Comparison

QUICK = Limits(backoff_s=0.01, timeout_s=5.0)


def quick(**more: Any) -> Limits:
    """`QUICK` with other values."""
    return replace(QUICK, **more)


@dataclass(frozen=True)
class Answer:
    """What the server sends: a status, a body (text or JSON), headers, after a delay.

    `cut`: the connection breaks in the middle of the body; `reset`: before the first byte.
    """

    body: Any = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    cut: bool = False
    reset: bool = False


@dataclass(frozen=True)
class Request:
    """One request: its JSON, headers, when it came, and which one of its content it was."""

    payload: dict[str, Any]
    headers: dict[str, str]
    at: float
    number: int
    content: str


def chat(text: str | None, tokens: tuple[int, int] = (100, 10), **message: Any) -> Answer:
    """A chat completion with this text."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}}
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    return Answer({"choices": [choice | {"finish_reason": "stop"}], "usage": usage})


def by_points(request: Request) -> Answer:
    """The response that says it has more points is better; equal ones tie."""
    first, second = (int(n) for n in re.findall(r"points: ([0-9]+)", request.content))
    return chat(f"Fine.\nVerdict: [[{'A' if first > second else 'B' if first < second else 'C'}]]")


class JudgeServer:
    """An OpenAI-compatible endpoint. `answer` may be replaced at any time."""

    def __init__(self) -> None:
        self.answer: Callable[[Request], Answer] = by_points
        self.requests: list[Request] = []
        self.in_flight = self.most_in_flight = 0
        self.seen: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def backend(self, **more: Any) -> OpenAICompatible:
        return OpenAICompatible("tester", base_url=self.url, **more)

    def start(self) -> None:
        self.http = _Server(("127.0.0.1", self.port), _handler(self))
        self.port = self.http.server_address[1]
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def take(self, payload: dict[str, Any], headers: dict[str, str]) -> Request:
        content = json.dumps(payload["messages"])
        with self.lock:
            request = Request(payload, headers, time.monotonic(), self.seen[content], content)
            self.seen[content] += 1
            self.requests.append(request)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        return request

    def done(self) -> None:
        with self.lock:
            self.in_flight -= 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away in the middle are part of the tests."""


def _handler(server: JudgeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            request = server.take(payload, {k.lower(): v for k, v in self.headers.items()})
            try:
                answer = server.answer(request)
                time.sleep(answer.delay_s)
            finally:
                server.done()  # before the last byte, upon which the next request may come
            self.send(answer)

        def send(self, answer: Answer) -> None:
            if answer.reset:
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            body = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
            data = body.encode("utf-8", "surrogatepass")
            self.send_response(answer.status)
            for name, value in ({"Content-Type": "application/json"} | answer.headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if answer.cut else data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


def asked_once(server: JudgeServer) -> bool:
    """Whether nothing was asked twice."""
    return max(server.seen.values()) == 1


def comparisons(n: int) -> list[Comparison]:
    """n comparisons in which a has more points, as many, fewer, more …"""
    return [
        Comparison(f"Question {i}?", f"a{i} points: {4 + (1 - i % 3)}", f"b{i} points: 4")
        for i in range(n)
    ]


def wins(n: int) -> list[float]:
    """P(a ≻ b) of each, by points."""
    return [(1.0, 0.5, 0.0)[i % 3] for i in range(n)]
