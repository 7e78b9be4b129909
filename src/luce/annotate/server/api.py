"""What the page asks of the server, and the answers: JSON, and the page's own three files."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from luce.annotate.database import StoreError
from luce.annotate.server.differences import differences
from luce.annotate.server.giving import Shown
from luce.annotate.server.guard import App, Guard
from luce.annotate.server.keys import Keys, Session, clean_name
from luce.annotate.server.markdown import tree, visible
from luce.annotate.server.results import Results, results
from luce.annotate.server.store import Conflict, NotThere, Store
from luce.annotate.server.tasks import STRENGTHS, Kind, Verdict
from luce.errors import LuceError

ASSETS = Path(__file__).parent / "assets"
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/view.js": ("view.js", "text/javascript; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
LONGEST_COMMENT = 4000


@dataclass(frozen=True)
class Door:
    """Who may come in, and under which names the page is asked for.

    Attributes:
        people: each of them has a token of their own; none: anyone, with the one token or without.
        token: whether one is asked for. Always where there are people.
        adjudicators: of the people, those who settle disagreements and see the agreement.
        hosts: names of this machine beside addresses.
        any_address: whether others than loopback addresses are answered.
        port: cookies of two pages on one machine differ by it.
    """

    people: tuple[str, ...] = ()
    token: bool = False
    adjudicators: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    any_address: bool = False
    port: int = 0


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class SignIn(_Body):
    """A name, and the token where one is asked for."""

    name: Annotated[str, StringConstraints(max_length=200)]
    token: Annotated[str, StringConstraints(max_length=200)] = ""


class Vote(_Body):
    """A verdict on responses in the order shown. `key` is the same when it is sent again."""

    key: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{16,64}$")]
    task: Annotated[int, Field(ge=1, lt=2**62)]
    kind: Kind
    ranks: Annotated[list[int], Field(max_length=26)] = []
    strength: int | None = None
    ratings: Annotated[
        dict[str, Annotated[list[int | None], Field(max_length=26)]], Field(max_length=8)
    ] = {}
    comment: Annotated[str, StringConstraints(max_length=LONGEST_COMMENT)] = ""


class TaskNumber(_Body):
    """Which task."""

    task: Annotated[int, Field(ge=1, lt=2**62)]


class VoteNumber(_Body):
    """Which vote."""

    vote: Annotated[int, Field(ge=1, lt=2**62)]


class Nothing(_Body):
    """No argument."""


def application(store: Store, keys: Keys, door: Door) -> App:
    """The page and its interface, behind the guard."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    cookie = f"luce_annotate_{door.port}"
    _files(app)
    _errors(app)
    _sessions(app, store, keys, door, cookie)
    _work(app, store, door)
    return Guard(app, keys, cookie, door.hosts, door.any_address)


def _files(app: FastAPI) -> None:
    def served(name: str, kind: str) -> Callable[[], Response]:
        content = (ASSETS / name).read_bytes()
        return lambda: Response(content, media_type=kind)

    for path, (name, kind) in _FILES.items():
        app.add_api_route(path, served(name, kind), methods=["GET"])


def _errors(app: FastAPI) -> None:
    def told(_: Request, error: Exception) -> JSONResponse:
        status, reason = 400, str(error)
        if isinstance(error, StoreError):
            # the words name a file of this machine: they are for whoever runs the page
            print(f"luce annotate: {error}", file=sys.stderr, flush=True)
            why = "The disk is full. " if "full" in reason else ""
            status, reason = 503, f"Not saved. {why}Tell whoever runs this page, and try again."
        elif isinstance(error, NotThere):
            status = 404
        elif isinstance(error, Conflict):
            status = 409
        return JSONResponse({"error": reason}, status)

    def malformed(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        return JSONResponse({"error": f"{place}: {first['msg']}."}, 422)

    app.add_exception_handler(LuceError, told)
    app.add_exception_handler(RequestValidationError, malformed)


class _SignInNeeded(Exception):
    pass


def _name(request: Request) -> str:
    session: Session | None = request.scope["session"]
    if session is None or not session.name:
        raise _SignInNeeded
    return session.name


Name = Annotated[str, Depends(_name)]


def _sessions(app: FastAPI, store: Store, keys: Keys, door: Door, cookie: str) -> None:
    def set_cookie(response: Response, session: Session) -> None:
        response.set_cookie(
            cookie, keys.cookie(session), httponly=True, samesite="strict", path="/"
        )

    def described(session: Session) -> dict[str, Any]:
        known = bool(session.name)
        return {
            "name": session.name,
            "form": keys.form_token(session),
            "needs_token": door.token or bool(door.people),
            "dimensions": list(store.settings.dimensions) if known else [],
            "strengths": list(STRENGTHS.values()),
            "adjudicates": known and session.name in door.adjudicators,
        }

    def unknown(_: Request, __: Exception) -> JSONResponse:
        return JSONResponse({"error": "Sign in first."}, 401)

    app.add_exception_handler(_SignInNeeded, unknown)

    @app.get("/api/me")
    def me(request: Request, response: Response) -> dict[str, Any]:
        session = request.scope["session"]
        if session is None:
            session = keys.new_session()
            set_cookie(response, session)
        return described(session)

    @app.post("/api/sign-in")
    def sign_in(body: SignIn) -> Response:
        name = clean_name(body.name)
        allowed = not (door.token or door.people)
        if door.people:
            # compared also for names that are not known: the time says nothing
            allowed = keys.admits(name, body.token) and name in door.people
        elif door.token:
            allowed = keys.admits(None, body.token)
        if not allowed:
            return JSONResponse({"error": "This name and token do not belong together."}, 401)
        session = keys.new_session(name)
        response = JSONResponse(described(session))
        set_cookie(response, session)
        return response

    @app.post("/api/sign-out")
    def sign_out(_: Nothing) -> Response:
        session = keys.new_session()
        response = JSONResponse(described(session))
        set_cookie(response, session)
        return response


def _work(app: FastAPI, store: Store, door: Door) -> None:
    @app.post("/api/next")
    def next_task(_: Nothing, name: Name) -> dict[str, Any]:
        adjudicates = name in door.adjudicators
        shown = store.next(name, adjudicates)
        progress = store.progress(name, adjudicates)
        return {
            "task": None if shown is None else _task(shown),
            "done": progress.done,
            "left": progress.left,
            "last": store.last(name),
        }

    @app.post("/api/vote")
    def vote(body: Vote, name: Name) -> dict[str, Any]:
        ratings = {key: tuple(grades) for key, grades in body.ratings.items()}
        verdict = Verdict(body.kind, tuple(body.ranks), body.strength, ratings, body.comment)
        saved = store.vote(name, body.task, body.key, verdict)
        return {"saved": True, "vote": saved.vote, "repeated": saved.repeated}

    @app.post("/api/undo")
    def undo(body: VoteNumber, name: Name) -> dict[str, Any]:
        store.undo(name, body.vote)
        return {"undone": True}

    @app.post("/api/differences")
    def compare(body: TaskNumber, name: Name) -> dict[str, Any]:
        shown = store.shown(name, body.task)
        if len(shown.responses) != 2:
            return {"pieces": None}
        a, b = (visible(text) for text in shown.responses)
        return {"pieces": differences(a, b)}

    @app.post("/api/agreement")
    def agreement(_: Nothing, name: Name) -> Response:
        if name not in door.adjudicators:
            return JSONResponse({"error": "For those who adjudicate."}, 403)
        found: Results = results(store, resamples=300)
        return JSONResponse({"lines": found.lines()})


def _task(shown: Shown) -> dict[str, Any]:
    """What the page is told of a task: no order, no names, nothing of the source."""
    turns = (
        [{"role": "", "content": shown.prompt}]
        if isinstance(shown.prompt, str)
        else [{"role": str(t.get("role", "")), "content": _said(t)} for t in shown.prompt]
    )
    return {
        "number": shown.task,
        "prompt": [{"role": visible(turn["role"]), **_text(turn["content"])} for turn in turns],
        "responses": [_text(response) for response in shown.responses],
        "adjudicates": shown.adjudicates,
        "others": [verdict.plain() for verdict in shown.others],
        "before": None if shown.before is None else shown.before.plain(),
    }


def _said(turn: Any) -> str:
    return str(turn.get("content") or "")


def _text(text: str) -> dict[str, Any]:
    return {"tree": tree(text), "text": visible(text)}
