"""Where a page of this machine listens, and how its server ends."""

import ipaddress
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from luce.errors import LuceError

LOOPBACK = "127.0.0.1"


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0: one that is free.

    Raises:
        LuceError: it cannot.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.create_server((host, port), family=family, backlog=128)
        # replies are short and in two pieces: without it each waits 40 ms for an acknowledgement
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return bound
    except OSError as error:
        raise LuceError(
            f"--host {host} --port {port}: {error.strerror or error}. Name another port, or 0 for "
            "any that is free."
        ) from None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def server_of(application: Any) -> uvicorn.Server:
    """A server of an ASGI application that says nothing of itself, to the terminal or in headers;
    its `run(sockets=[…])` ends when it is interrupted."""
    config = uvicorn.Config(
        application,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=5,
    )
    return uvicorn.Server(config)


def run_until_interrupted(
    server: uvicorn.Server, bound: socket.socket, told: Callable[[], None]
) -> None:
    """Tell that the page can be reached, serve until Ctrl-C, and close the socket."""
    try:
        with _interrupts(server):
            told()
            server.run(sockets=[bound])
    except KeyboardInterrupt:  # the server has ended its work, and passes the signal on
        pass
    finally:
        bound.close()


@contextmanager
def _interrupts(server: uvicorn.Server) -> Iterator[None]:
    """Ctrl-C ends the server from now on. Before it listens to signals itself it imports much, and
    Python drops a KeyboardInterrupt that falls into a callback of an import."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        server.should_exit = True

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
