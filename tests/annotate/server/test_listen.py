"""A server is interrupted once, and ends: whatever the moment."""

import signal
import socket
import weakref

import pytest

from luce.annotate.server.listen import LOOPBACK, listen, run_until_interrupted, server_of


@pytest.fixture
def bound():
    with listen(LOOPBACK, 0) as found:
        yield found


async def application(scope, receive, send):
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


@pytest.fixture(autouse=True)
def in_time():
    def stop(*_):
        raise TimeoutError("still serving")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


class Dropped:
    """Python drops what is raised in the callback of a weak reference, as those of imports are."""


def in_a_callback():
    thing = Dropped()
    watch = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
    del thing
    assert watch() is None


@pytest.mark.parametrize("interrupt", [lambda: signal.raise_signal(signal.SIGINT), in_a_callback])
def test_an_interrupt_before_the_server_listens_to_signals(bound, interrupt):
    before, address = signal.getsignal(signal.SIGINT), bound.getsockname()
    run_until_interrupted(server_of(application), bound, interrupt)
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=1)
