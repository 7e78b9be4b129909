"""Those who want into the annotation page: other sites, other machines, hostile texts."""

import json
from pathlib import Path

import pytest
from annotation_client import Browser
from annotation_pages import served, tasks
from fault_bench import ANSWERED, SAME, case, in_process

from luce.annotate.server import Settings, Store, Task, records
from luce.annotate.server.api import Door
from luce.annotate.server.keys import Keys

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "votes.sqlite", Settings(overlap=2))
    opened.add(tasks(6))
    yield opened
    opened.close()


@pytest.fixture
def anna(store):
    with served(store) as port:
        browser = Browser(port)
        assert browser.sign_in("anna").status == 200
        yield browser


@case(112, what="the address that the page listens on", answer=SAME)
def test_it_listens_on_this_machine_only(anna, says) -> None:
    with open("/proc/net/tcp") as stream:
        rows = [line.split() for line in stream.readlines()[1:]]
    local = [row[1].split(":") for row in rows if row[3] == "0A"]
    assert [a for a, port in local if int(port, 16) == anna.port] == ["0100007F"]
    with open("/proc/net/tcp6") as stream:
        ports = [line.split()[1].split(":")[1] for line in stream.readlines()[1:]]
    assert f"{anna.port:04X}" not in ports
    says("127.0.0.1 alone")


@case(112, what="another address without a token", answer=ANSWERED)
def test_another_address(store, capsys, says) -> None:
    ask = in_process(capsys)
    path = str(store.database.path)
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        said = ask(["annotate", "--store", path, "--host", host]).refused(
            f"--host {host}", "--people"
        )
    says(said)


FOREIGN = {
    113: ("another host's name, or a page of another site", [
        {"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example"},
        {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]),
    114: ("a form without its token", [
        {"X-Luce-Form": ""}, {"X-Luce-Form": "x" * 43}, {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"}, {"Content-Type": ""}]),
}  # fmt: skip


@pytest.mark.parametrize(
    "attempts",
    [
        pytest.param(attempts, marks=case(n, what=what, answer=ANSWERED), id=what)
        for n, (what, attempts) in FOREIGN.items()
    ],
)
def test_what_another_page_could_send(anna, store, says, attempts) -> None:
    number = anna.next()["task"]["number"]
    body = {"key": "k" * 16, "task": number, "kind": "ranked", "ranks": [1, 2]}
    for headers in attempts:
        sent = {"Content-Type": "application/json", "X-Luce-Form": anna.form, **headers}
        reply = anna.send("POST", "/api/vote", json.dumps(body).encode(), **sent)
        assert reply.status == 403, (headers, reply)
    assert records(store) == []
    says(f"{len(attempts)} of {len(attempts)}: 403 {reply.body.decode()[:120]}")


@case(115, what="markup, scripts and addresses in a text or a name", answer=SAME)
def test_hostile_texts_are_inert(store, tmp_path, says) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    from test_browser import EVIL, Person

    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    other = Store(tmp_path / "evil.sqlite", Settings())
    other.add([Task(({"role": "<b>user", "content": EVIL},), (EVIL, f"{EVIL} more"))])
    with sync_api.sync_playwright() as playwright, served(other) as port:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        person = Person(chromium, port, "<img src=x onerror=document.title='run'>")
        person.wait(0)
        for key in ("d", "m"):
            person.press(key)
            person.page.wait_for_timeout(100)
        assert person.count("main script, main img, main svg, main iframe, main a") == 0
        assert person.page.title() == "luce: which is better?" and person.complaints == []
        assert {url.split("/")[2] for url in person.requests} == {f"127.0.0.1:{port}"}
        person.context.close()
        chromium.close()
    other.close()
    says("in a browser: no element, no request and no script of theirs")


@case(115, what="a page that could run scripts written into it", answer=SAME)
def test_the_policy(anna, says) -> None:
    for reply in (anna.send("GET", "/"), anna.send("GET", "/nowhere"), anna.post("/api/next", {})):
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
    says(policy)


@case(116, what="paths that climb out of the page", answer=ANSWERED)
def test_paths(anna, says) -> None:
    paths = (
        "/../keys.py", "/..%2fkeys.py", "/%252e%252e/keys.py", "//etc/passwd", "/etc/passwd",
        "/style.css/../../api.py", "/page.js%00.py", "/..\\keys.py",
    )  # fmt: skip
    assert {anna.send("GET", path).status for path in paths} == {404}
    says(f"404 for {len(paths)} of {len(paths)}: nothing is served by path")


@case(117, what="bodies that are huge, compressed or of 100000 fields", answer=ANSWERED)
def test_bodies(anna, store, says) -> None:
    many = json.dumps({f"c{i}": 1 for i in range(100_000)}).encode()
    sent = {"Content-Type": "application/json", "X-Luce-Form": anna.form}
    found = [anna.send("POST", "/api/vote", body, **sent).status for body in (b"x" * 10**6, many)]
    packed = anna.send("POST", "/api/vote", b"\x1f\x8b", **sent | {"Content-Encoding": "gzip"})
    nested = anna.send("POST", "/api/vote", b"[" * 60_000, **sent)
    assert (found, packed.status) == ([413, 413], 415) and nested.status in (400, 422)
    assert records(store) == [] and anna.next()["task"]
    says("413, 413 and 415; the page goes on")


@case(118, what="no token, a wrong one, and that of another", answer=ANSWERED)
def test_tokens(store, says, monkeypatch) -> None:
    compared = []
    keys = Keys.beside(store.database.path)
    with served(store, Door(people=("anna", "ben"))) as port:
        for name, token in (("anna", ""), ("anna", keys.token("ben")), ("eve", keys.token("eve"))):
            reply = Browser(port).sign_in(name, token)
            assert reply.status == 401
        (cookie,) = Browser(port).sign_in("anna", keys.token("anna")).cookies
        assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower()
        assert keys.token("anna") not in cookie
        bare = Browser(port)
        bare.form = bare.send("GET", "/api/me").json["form"]
        assert bare.post("/api/next", {}).status == 401
    import hmac

    same = hmac.compare_digest
    monkeypatch.setattr("hmac.compare_digest", lambda a, b: compared.append(1) or same(a, b))
    keys.admits("anna", "t")
    assert compared
    says(f"401 {reply.json['error']}; the cookie is HttpOnly and SameSite=strict")
