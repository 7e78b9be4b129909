"""Serving the page: where it listens, and the links by which people reach it."""

import socket
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

import uvicorn

from luce.annotate.server.api import Door, application
from luce.annotate.server.keys import Keys
from luce.annotate.server.listen import (
    LOOPBACK,
    is_loopback,
    listen,
    run_until_interrupted,
    server_of,
)
from luce.annotate.server.store import Store
from luce.errors import LuceError


def server_on(bound: socket.socket, store: Store, keys: Keys, door: Door) -> uvicorn.Server:
    """A server on a socket that listens; its `run(sockets=[…])` ends when it is interrupted."""
    host, port = bound.getsockname()[:2]
    door = replace(door, port=port, any_address=not is_loopback(host))
    return server_of(application(store, keys, door))


def links(bound: socket.socket, keys: Keys, door: Door) -> list[tuple[str, str]]:
    """Whom each link is for ("" for anybody), and the link. The token stands behind the `#`, which
    browsers keep to themselves."""
    host, port = bound.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = door.hosts[0] if door.hosts else socket.gethostname()
    base = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    if door.people:
        return [
            (name, f"{base}#name={quote(name)}&token={keys.token(name)}") for name in door.people
        ]
    return [("", f"{base}#token={keys.token(None)}" if door.token else base)]


def serve(
    store: Store,
    keys: Keys,
    door: Door,
    host: str = LOOPBACK,
    port: int = 8730,
    told: Callable[[list[tuple[str, str]]], None] = lambda links: None,
) -> None:
    """Serve the page until interrupted.

    Args:
        told: is called with the links once the page can be reached.

    Raises:
        LuceError: the address cannot be used; or it is not loopback, or a name is allowed by which
            others reach it, and the page asks for no token.
    """
    if (door.hosts or not is_loopback(host)) and not (door.token or door.people):
        given = "--allow-host" if door.hosts else f"--host {host}"
        raise LuceError(
            f"{given} lets other machines in. Add --people with a name for each person, or "
            "--token for one token for all."
        )
    if host in ("0.0.0.0", "::") and not door.hosts:
        door = replace(door, hosts=(socket.gethostname(),))
    elif not is_loopback(host):
        door = replace(door, hosts=(*door.hosts, host))
    bound = listen(host, port)
    server = server_on(bound, store, keys, door)
    run_until_interrupted(server, bound, lambda: told(links(bound, keys, door)))
