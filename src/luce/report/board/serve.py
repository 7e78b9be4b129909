"""Serving the board: where it listens, and the link by which it is reached."""

import secrets
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import uvicorn

from luce.annotate.server.keys import Keys
from luce.annotate.server.listen import (
    LOOPBACK,
    is_loopback,
    listen,
    run_until_interrupted,
    server_of,
)
from luce.errors import LuceError
from luce.report.board.api import Door, application

ANY = ("0.0.0.0", "::")


def server_on(bound: socket.socket, root: Path, keys: Keys, door: Door) -> uvicorn.Server:
    """A server on a socket that listens; its `run(sockets=[…])` ends when it is interrupted."""
    host, port = bound.getsockname()[:2]
    door = replace(door, port=port, any_address=not is_loopback(host))
    return server_of(application(root, keys, door))


def link(bound: socket.socket, keys: Keys, door: Door) -> str:
    """The address of the board. The token stands behind the `#`, which browsers keep to
    themselves."""
    host, port = bound.getsockname()[:2]
    if host in ANY:
        host = door.hosts[0] if door.hosts else socket.gethostname()
    base = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    return f"{base}#token={keys.token(None)}" if door.token else base


def serve(
    root: Path,
    host: str = LOOPBACK,
    port: int = 8731,
    token: bool = False,
    hosts: tuple[str, ...] = (),
    told: Callable[[str], None] = lambda link: None,
) -> None:
    """Serve the runs of a folder until interrupted; nothing in it is changed.

    Args:
        token: ask for one; always where others than this machine can reach the board.
        hosts: names under which it is asked for, beside its address.
        told: is called with the link once the board can be reached.

    Raises:
        LuceError: no such folder, or the address cannot be used.
    """
    if not root.is_dir():
        raise LuceError(
            f"{root}: no such folder. Give the folder in which your runs lie, for example runs."
        )
    token = token or bool(hosts) or not is_loopback(host)
    if host in ANY and not hosts:
        hosts = (socket.gethostname(),)
    elif not is_loopback(host) and host not in ANY:
        hosts = (*hosts, host)
    door, keys = Door(token, hosts), Keys(secrets.token_bytes(32))
    bound = listen(host, port)
    server = server_on(bound, root, keys, door)
    run_until_interrupted(server, bound, lambda: told(link(bound, keys, door)))
