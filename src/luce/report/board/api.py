"""What the board's page asks of the server: JSON, reports as pages, and the page's own files.

Nothing is ever written, and everything that is read lies in the folder.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, StringConstraints

from luce.annotate.server.guard import App, Guard, Message, Receive, Scope, Send
from luce.annotate.server.keys import Keys, Session
from luce.errors import LuceError
from luce.report.board.folder import NotInside, inside
from luce.report.board.index import Index, tag_of
from luce.report.board.live import live
from luce.report.board.side import beside
from luce.report.board.sweeps import FILE, served_sweep
from luce.report.compare import compare_runs, render_comparison
from luce.report.html import report_page
from luce.report.page import TEMPLATES, Frame, content_policy
from luce.report.sweep_fold import SweepRun
from luce.report.watch import look, stamp_of

ASSETS = Path(__file__).parent / "assets"
_FILES = {
    "/": (ASSETS / "index.html", "text/html; charset=utf-8"),
    "/style.css": (TEMPLATES / "style.css", "text/css; charset=utf-8"),
    "/board.css": (ASSETS / "board.css", "text/css; charset=utf-8"),
    "/icon.svg": (ASSETS / "icon.svg", "image/svg+xml"),
    **{
        f"/{name}.js": (ASSETS / f"{name}.js", "text/javascript; charset=utf-8")
        for name in ("board", "page", "table", "run", "chart", "compare")
    },
}
PAGES = 16
"""So many reports are kept as they were last rendered."""

READER = "reader"
"""The name of everyone who has the token."""

Runs = Annotated[list[Annotated[str, StringConstraints(max_length=1000)]], Query()]
Path1 = Annotated[str, Query(max_length=1000)]


@dataclass(frozen=True)
class Door:
    """Who may come in, and under which names the board is asked for.

    Attributes:
        token: whether one is asked for.
        hosts: names of this machine beside addresses.
        any_address: whether others than loopback addresses are answered.
        port: cookies of two boards on one machine differ by it.
    """

    token: bool = False
    hosts: tuple[str, ...] = ()
    any_address: bool = False
    port: int = 0


class SignIn(BaseModel):
    """The token."""

    model_config = ConfigDict(extra="forbid", strict=True)
    token: Annotated[str, StringConstraints(max_length=200)]


class _SignInNeeded(Exception):
    pass


def application(root: Path, keys: Keys, door: Door) -> App:
    """The board of a folder, behind the guard."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    cookie = f"luce_board_{door.port}"

    def reader(request: Request) -> None:
        session: Session | None = request.scope["session"]
        if door.token and (session is None or session.name != READER):
            raise _SignInNeeded

    _files(app)
    _errors(app)
    _sessions(app, keys, door, cookie)
    _runs(app, root, [Depends(reader)])
    return _own_policy(Guard(app, keys, cookie, door.hosts, door.any_address))


def _own_policy(inner: App) -> App:
    """A reply with a content security policy of its own keeps it, and not the guard's beside it:
    of two policies a browser follows both."""

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        async def once(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen, kept = set(), []
                for name, value in message["headers"]:
                    if name != b"content-security-policy" or name not in seen:
                        kept.append((name, value))
                    seen.add(name)
                message["headers"] = kept
            await send(message)

        await inner(scope, receive, once)

    return outer


def _files(app: FastAPI) -> None:
    def served(path: Path, kind: str) -> Callable[[], Response]:
        content = path.read_bytes()
        return lambda: Response(content, media_type=kind)

    for address, (path, kind) in _FILES.items():
        app.add_api_route(address, served(path, kind), methods=["GET"])


def _errors(app: FastAPI) -> None:
    def told(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, 404 if isinstance(error, NotInside) else 400)

    def gone(_: Request, __: Exception) -> Response:
        return JSONResponse({"error": "The run has gone, or cannot be read."}, 404)

    def damaged(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": f"A file of the run is damaged ({error})."}, 400)

    def unknown(_: Request, __: Exception) -> Response:
        return JSONResponse({"error": "Open the board by the link with its token."}, 401)

    app.add_exception_handler(LuceError, told)
    app.add_exception_handler(OSError, gone)
    for kind in (ValueError, KeyError, TypeError, AttributeError):
        app.add_exception_handler(kind, damaged)
    app.add_exception_handler(_SignInNeeded, unknown)


def _sessions(app: FastAPI, keys: Keys, door: Door, cookie: str) -> None:
    def set_cookie(response: Response, session: Session) -> None:
        response.set_cookie(
            cookie, keys.cookie(session), httponly=True, samesite="strict", path="/"
        )

    @app.get("/api/me")
    def me(request: Request, response: Response) -> dict[str, Any]:
        session = request.scope["session"]
        if session is None:
            session = keys.new_session()
            set_cookie(response, session)
        known = not door.token or session.name == READER
        return {"known": known, "form": keys.form_token(session)}

    @app.post("/api/sign-in")
    def sign_in(body: SignIn) -> Response:
        if not keys.admits(None, body.token):
            return JSONResponse({"error": "This is not the token of this board."}, 401)
        response = JSONResponse({"known": True})
        set_cookie(response, keys.new_session(READER))
        return response


def _runs(app: FastAPI, root: Path, reader: list[Any]) -> None:
    index, drawn = Index(root), _Drawn(root)

    def answered(value: dict[str, Any], seen: str) -> dict[str, Any]:
        tag = tag_of(value)
        return {"tag": tag, "unchanged": True} if tag == seen else value | {"tag": tag}

    @app.get("/api/runs", dependencies=reader)
    def runs(seen: str = "") -> dict[str, Any]:
        rows, pending = index.rows()
        return answered({"folder": root.resolve().name, "runs": rows, "pending": pending}, seen)

    @app.get("/api/run", dependencies=reader)
    def run(run: Path1, seen: str = "") -> dict[str, Any]:
        begun = time.perf_counter()
        found = answered(live(root.resolve(), _place(root, run)), seen)
        # a run with many lines is not to lose its processor to whoever looks at it
        return found | {"wait_s": round(max(1.5, 10 * (time.perf_counter() - begun)), 1)}

    @app.get("/api/beside", dependencies=reader)
    def side_by_side(run: Runs) -> dict[str, Any]:
        return beside(root.resolve(), [_place(root, path) for path in run])

    @app.get("/picture", dependencies=reader)
    def picture(run: Path1, name: Path1) -> Response:
        path = inside(root, run) / name
        if "/" in name or path.suffix != ".png" or path.is_symlink() or not path.is_file():
            raise NotInside("No picture is there.")
        return Response(path.read_bytes(), media_type="image/png")

    @app.get("/report", dependencies=reader)
    def report(run: Path1) -> Response:
        return _page(drawn.report(_place(root, run)))

    @app.get("/sweep", dependencies=reader)
    def sweep(run: Path1) -> Response:
        return _page(drawn.sweep(_place(root, run)))

    @app.get("/comparison", dependencies=reader)
    def comparison(run: Runs) -> Response:
        return _page(drawn.comparison([_place(root, path) for path in run]))


def _place(root: Path, path: str) -> str:
    """The path of a run, as it lies in the folder."""
    return inside(root, path).relative_to(root.resolve()).as_posix()


def _page(text: str) -> Response:
    policy = f"{content_policy()}; frame-ancestors 'none'"
    return Response(
        text.encode("utf-8", "replace"),
        media_type="text/html; charset=utf-8",
        headers={"content-security-policy": policy},
    )


class _Drawn:
    """Reports as pages, drawn one at a time and kept until a file of theirs changes."""

    def __init__(self, root: Path):
        self._root = root.resolve()
        self._kept: OrderedDict[tuple[Any, ...], str] = OrderedDict()
        self._lock = Lock()

    def report(self, path: str) -> str:
        folder = self._root / path
        seen = look(folder)
        links = (("/", "All runs"), (f"/#/run/{quote(path)}", "Curves and parts"))
        frame = Frame(seen.words(), None, links)
        return self._once(("report", path, seen), lambda: report_page(folder, frame))

    def sweep(self, path: str) -> str:
        folder = self._root / path
        if not (folder / FILE).is_file():
            raise NotInside("No sweep is there.")
        links = (("/", "All runs"),)

        def link(run: SweepRun) -> str | None:
            there = (folder / run.folder.name / "manifest.json").is_file()
            at = (PurePosixPath(path) / run.folder.name).as_posix()
            return f"/report?run={quote(at)}" if there else None

        written = (folder / FILE).stat().st_mtime_ns
        return self._once(
            ("sweep", path, written), lambda: served_sweep(folder, Frame("", None, links), link)
        )

    def comparison(self, paths: list[str]) -> str:
        folders = [self._root / path for path in paths]
        key = ("comparison", *((path, stamp_of(self._root / path)) for path in paths))
        return self._once(key, lambda: render_comparison(compare_runs(folders)))

    def _once(self, key: tuple[Any, ...], draw: Callable[[], str]) -> str:
        # matplotlib's settings are those of the whole process: one figure at a time
        with self._lock:
            if key not in self._kept:
                self._kept[key] = draw()
            self._kept.move_to_end(key)
            while len(self._kept) > PAGES:
                self._kept.popitem(last=False)
            return self._kept[key]
