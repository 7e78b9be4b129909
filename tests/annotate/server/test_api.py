"""The interface over real HTTP: votes that are saved or refused, and who may ask."""

import http.client
import json
import socket
import stat
import threading
import time

import pytest
from annotation_client import Browser
from annotation_pages import served, tasks

from luce.annotate.server import Settings, Store, records
from luce.annotate.server.api import Door
from luce.annotate.server.keys import Keys, clean_name
from luce.annotate.server.listen import is_loopback
from luce.annotate.server.serve import serve
from luce.errors import LuceError


@pytest.fixture
def page(store):
    store.add(tasks(6))
    with served(store) as port:
        yield port


@pytest.fixture
def anna(page):
    browser = Browser(page)
    assert browser.sign_in("anna").status == 200
    return browser


def test_a_vote_is_saved_shown_and_taken_back(anna, store):
    given = anna.next()
    reply = anna.vote(given["task"]["number"], "k" * 16, strength=2, comment="because")
    assert reply.json == {"saved": True, "vote": 1, "repeated": False}
    assert anna.next()["done"] == 1
    assert anna.post("/api/undo", {"vote": 1}).json == {"undone": True}
    again = anna.next()
    assert again["task"]["number"] == given["task"]["number"] and again["done"] == 0
    assert again["task"]["before"]["strength"] == 2


def test_the_same_vote_sent_twice_at_once_counts_once(anna, page, store):
    number = anna.next()["task"]["number"]
    replies = []

    def send():
        other = Browser(page, anna.cookie, anna.form)
        replies.append(other.vote(number, "k" * 16).json)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(records(store)) == 1
    assert sorted(reply["repeated"] for reply in replies) == [False] + [True] * 7
    two_tabs = anna.vote(number, "l" * 16, ranks=(2, 1))
    assert two_tabs.status == 409 and "already" in two_tabs.json["error"]


def test_nothing_tells_who_wrote_what(anna, page):
    texts = []
    for path in ("/", "/page.js", "/view.js", "/style.css", "/api/me"):
        texts.append(anna.send("GET", path).body)
    firsts = set()
    while (given := anna.post("/api/next", {})).json["task"]:
        texts.append(given.body + json.dumps(given.headers).encode())
        task = given.json["task"]
        assert set(task) == {
            *("number", "prompt", "responses", "adjudicates", "others", "before"),
        }
        firsts.add(task["responses"][0]["text"].split()[0])
        texts.append(anna.post("/api/differences", {"task": task["number"]}).body)
        texts.append(anna.vote(task["number"], f"{task['number']:016d}").body)
    assert b"canary" not in b"".join(texts)
    assert firsts == {"Right", "Wrong"}  # the first shown is not always the first of the source


def test_the_numbers_of_tasks_say_nothing_of_the_source(tmp_path):
    store = Store(tmp_path / "v.sqlite", Settings())
    store.add(tasks(50))
    ids = store.database.do(lambda c: [r[0] for r in c.execute("SELECT id FROM tasks")])
    assert ids != sorted(ids, key=lambda id: int(id[1:]))


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "192.0.2.7"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "text/plain"},
        {"Content-Type": ""},
        {"X-Luce-Form": ""},
        {"X-Luce-Form": "x" * 43},
    ],
    ids=str,
)
def test_what_another_page_could_send_is_refused(anna, store, headers):
    number = anna.next()["task"]["number"]
    body = {"key": "k" * 16, "task": number, "kind": "ranked", "ranks": [1, 2]}
    sent = {"Content-Type": "application/json", "X-Luce-Form": anna.form, **headers}
    reply = anna.send("POST", "/api/vote", json.dumps(body).encode(), **sent)
    assert reply.status == 403, reply
    assert records(store) == []
    if "Host" in headers:
        assert anna.send("GET", "/", None, **headers).status == 403


def test_no_host_or_two_are_refused(page):
    for lines in (b"", b"Host: 127.0.0.1\r\nHost: evil\r\n"):
        with socket.create_connection(("127.0.0.1", page)) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n" + lines + b"Connection: close\r\n\r\n")
            assert connection.recv(100).split()[1] in (b"400", b"403")


def test_a_form_token_is_of_one_visit_only(page, anna):
    ben = Browser(page)
    ben.sign_in("ben")
    ben.form = anna.form
    assert ben.post("/api/next", {}).status == 403


def test_without_signing_in_there_is_nothing(page):
    browser = Browser(page)
    browser.form = browser.send("GET", "/api/me").json["form"]
    for path in ("/api/next", "/api/agreement"):
        assert browser.post(path, {}).status == 401
    browser.cookie = browser.cookie[:-3] + "abc"  # another signature
    assert browser.post("/api/next", {}).status == 403


def test_the_cookie_is_for_this_page_alone(page):
    (cookie,) = Browser(page).sign_in("anna").cookies
    assert f"luce_annotate_{page}=" in cookie
    assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower()


def test_every_reply_has_the_policy(anna):
    for reply in (
        anna.send("GET", "/"),
        anna.send("GET", "/nowhere"),
        anna.send("GET", "/", Host="evil"),
        anna.post("/api/next", {}),
    ):
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert "script-src 'self'" in policy and "frame-ancestors 'none'" in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["cache-control"] == "no-store"
        assert "server" not in reply.headers
    html = anna.send("GET", "/").body.decode()
    assert "style=" not in html and "onclick" not in html and "<script>" not in html


@pytest.mark.parametrize(
    "path",
    [
        "/../keys.py",
        "/..%2fkeys.py",
        "/%252e%252e/keys.py",
        "//etc/passwd",
        "/etc/passwd",
        "/assets/page.js",
        "/style.css/../../api.py",
        "/docs",
        "/openapi.json",
    ],
)
def test_there_are_no_paths(anna, path):
    assert anna.send("GET", path).status == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"x" * 70_000, 413),
        (b"{", 422),
        (b"[" * 60_000, 422),
        (b'"text"', 422),
        (json.dumps({f"c{i}": 1 for i in range(4000)}).encode(), 422),
        (b'{"key": "../../../../etc", "task": 1, "kind": "skip"}', 422),
        (b'{"key": "kkkkkkkkkkkkkkkk", "task": "1", "kind": "skip"}', 422),
        (b'{"key": "kkkkkkkkkkkkkkkk", "task": 1e99, "kind": "skip"}', 422),
        (b'{"key": "kkkkkkkkkkkkkkkk", "task": 999, "kind": "skip"}', 404),
        (b'{"key": "kkkkkkkkkkkkkkkk", "task": 1, "kind": "steal"}', 422),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_body_that_is_too_large_or_malformed_is_refused(anna, store, body, status):
    sent = {"Content-Type": "application/json", "X-Luce-Form": anna.form}
    reply = anna.send("POST", "/api/vote", body, **sent)
    assert reply.status in (status, 400 if status == 422 else status), reply
    assert "error" in reply.json or "detail" in reply.json
    assert records(store) == []


def test_a_body_without_a_length_is_counted_and_a_compressed_one_refused(anna, page):
    sent = {"Content-Type": "application/json", "X-Luce-Form": anna.form, "Cookie": anna.cookie}
    connection = http.client.HTTPConnection("127.0.0.1", page, timeout=30)
    try:
        body = iter([b"x" * 40_000] * 4)
        connection.request("POST", "/api/vote", body, sent, encode_chunked=True)
        assert connection.getresponse().status == 413
    finally:
        connection.close()
    bomb = anna.send("POST", "/api/vote", b"\x1f\x8b", **sent | {"Content-Encoding": "gzip"})
    assert bomb.status == 415


def test_an_endless_body_is_cut_off(anna, page):
    with socket.create_connection(("127.0.0.1", page), timeout=30) as connection:
        head = f"POST /api/vote HTTP/1.1\r\nHost: 127.0.0.1:{page}\r\nCookie: {anna.cookie}\r\n"
        head += f"X-Luce-Form: {anna.form}\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: 99999999999\r\n\r\n".encode())
        sent = 0
        try:
            while sent < 64 * 2**20:
                sent += connection.send(b"x" * 65_536)
        except OSError:
            pass
    assert sent < 32 * 2**20  # what lies in buffers is not all of it
    assert anna.next()["task"]


def test_a_full_disk_is_told_and_the_vote_is_not_saved(anna, store):
    number = anna.next()["task"]["number"]
    pages = store.database.do(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    store.database.do(lambda c: c.execute(f"PRAGMA max_page_count = {pages}"))
    votes, status = 0, 200
    while status == 200:  # until the last page is full
        reply = anna.vote(number, f"{votes:016d}", comment="x" * 4000)
        status = reply.status
        if status == 200:
            votes += 1
            number = anna.next()["task"]["number"]
    assert status == 503 and "Not saved" in reply.json["error"]
    assert str(store.database.path) not in reply.json["error"]
    assert len(records(store)) == votes
    store.database.do(lambda c: c.execute("PRAGMA max_page_count = 100000"))
    assert anna.vote(number, f"{votes:016d}", comment="x" * 4000).json["saved"]


def test_each_person_needs_their_own_token(store):
    store.add(tasks(2))
    keys = Keys.beside(store.database.path)
    with served(store, Door(people=("anna", "ben"))) as port:
        for name, token in (
            ("anna", ""),
            ("anna", keys.token("ben")),
            ("anna", keys.token(None)),
            ("eve", keys.token("eve")),
            ("anna", keys.token("anna") + "é"),
        ):
            assert Browser(port).sign_in(name, token).status == 401
        assert Browser(port).sign_in("anna", keys.token("anna")).status == 200


def test_one_token_for_all(store):
    keys = Keys.beside(store.database.path)
    with served(store, Door(token=True)) as port:
        assert Browser(port).sign_in("anna").status == 401
        assert Browser(port).sign_in("anna", keys.token(None)).status == 200


def test_only_those_who_adjudicate_see_the_agreement(store):
    store.add(tasks(4))
    with served(store, Door(adjudicators=("cleo",))) as port:
        for name in ("anna", "ben"):
            browser = Browser(port)
            browser.sign_in(name)
            while (given := browser.next())["task"]:
                browser.vote(given["task"]["number"], f"{name}{given['done']:016d}")
            assert browser.post("/api/agreement", {}).status == 403
        cleo = Browser(port)
        assert cleo.sign_in("cleo").json["adjudicates"]
        assert "8 votes on 4 items" in " ".join(cleo.post("/api/agreement", {}).json["lines"])
        given = cleo.next()
        assert given["task"]["adjudicates"] and len(given["task"]["others"]) == 2
        assert "anna" not in json.dumps(given)


def test_the_secret_is_the_owners_and_outlives_a_restart(tmp_path, monkeypatch):
    path = tmp_path / "v.sqlite"
    keys = Keys.beside(path)
    secret = tmp_path / "v.sqlite.key"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    again = Keys.beside(path)
    session = keys.new_session("anna")
    assert again.token("anna") == keys.token("anna") != keys.token("ben")
    assert again.session(keys.cookie(session)) == session
    later = time.time() + 40 * 24 * 3600
    monkeypatch.setattr(time, "time", lambda: later)
    assert again.session(keys.cookie(session)) is None
    secret.write_bytes(b"short")
    with pytest.raises(LuceError, match="no key"):
        Keys.beside(path)


def test_every_comparison_of_a_secret_takes_the_same_time(monkeypatch):
    compared = []
    monkeypatch.setattr(
        "hmac.compare_digest", lambda a, b: compared.append((a, b)) or a == b, raising=True
    )
    keys = Keys(b"x" * 32)
    session = keys.new_session("anna")
    keys.admits("anna", "t")
    keys.session(keys.cookie(session))
    keys.is_form_token(session, "f")
    assert len(compared) == 3


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "a\x00b", "a\u202eb", "\ud800"])
def test_a_name_is_made_of_characters_that_show(name):
    with pytest.raises(LuceError):
        clean_name(name)


def test_another_address_needs_a_token(store):
    keys = Keys.beside(store.database.path)
    for host in ("0.0.0.0", "192.0.2.1", "::"):
        assert not is_loopback(host)
        with pytest.raises(LuceError, match="--people"):
            serve(store, keys, Door(), host, 0)
    with pytest.raises(LuceError, match="--allow-host lets other machines in"):
        serve(store, keys, Door(hosts=("proxy.example",)), "127.0.0.1", 0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(LuceError, match="Name another port"):
            serve(store, keys, Door(), "127.0.0.1", taken.getsockname()[1])


def test_it_listens_on_this_machine_only(page):
    with open("/proc/net/tcp") as stream:
        local = [line.split()[1] for line in stream.readlines()[1:] if line.split()[3] == "0A"]
    addresses = [each.split(":")[0] for each in local if int(each.split(":")[1], 16) == page]
    assert addresses == ["0100007F"]
