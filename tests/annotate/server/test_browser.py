"""The page in a real browser, by keyboard alone."""

import json

import pytest
from annotation_pages import Served, served

from luce.annotate.server import Settings, Store, Task, Verdict, records
from luce.annotate.server.api import Door
from luce.annotate.server.keys import Keys

EVIL = (
    "<script>document.title = 'run'</script><img src=x onerror=\"document.title='run'\">"
    "</script><svg onload=\"document.title='run'\"> [link](javascript:document.title='run') "
    "![i](http://outside.invalid/i.png) $\\href{javascript:document.title='run'}{x}$ "
    "<iframe src=http://outside.invalid></iframe> `<b>`"
)


def tasks(n: int) -> list[Task]:
    return [Task(f"Question {i}?", (f"Wrong {i}.", f"Right {i}."), id=f"t{i}") for i in range(n)]


class Person:
    """Somebody at a browser of their own; whatever the page loads or complains of is noted."""

    def __init__(self, browser, port: int, name: str, width: int = 1280):
        self.context = browser.new_context(viewport={"width": width, "height": 800})
        self.page = self.context.new_page()
        self.requests, self.complaints = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._note)
        self.page.goto(f"http://127.0.0.1:{port}/")
        self.page.locator("#sign-name").wait_for()
        self.page.keyboard.type(name)  # the name has the focus
        self.page.keyboard.press("Enter")

    def _note(self, message) -> None:
        # what a killed server does to a request is the browser's to say
        if "ERR_CONNECTION" not in message.text:
            self.complaints.append(message.text)

    def wait(self, done: int) -> None:
        """Until so many are done and the next task is there."""
        self.page.locator("#count", has_text=f"{done} done").wait_for(timeout=120_000)
        self.page.locator("body:not([aria-busy])").wait_for()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def prefer(self) -> None:
        """Choose what says "Right", and save."""
        first = self.page.locator(".response").first.inner_text()
        self.press("a" if "Right" in first else "b", "Enter")

    def count(self, selector: str) -> int:
        return self.page.locator(selector).count()


def test_twenty_pairs_by_two_people_through_a_crash(chromium, tmp_path):
    path = tmp_path / "v.sqlite"
    store = Store(path, Settings(overlap=2))
    store.add(tasks(20))
    store.close()
    server = Served(path)
    people = [Person(chromium, server.port, name) for name in ("anna", "ben")]
    for person in people:
        person.wait(0)
    for done in range(10):
        for person in people:
            person.prefer()
        for person in people:
            person.wait(done + 1)
    anna, ben = people
    anna.press("u")  # takes the last vote back, and judges it otherwise
    anna.wait(9)
    assert anna.count('[data-choice][aria-pressed="true"]') == 1  # what was said before
    anna.press("t", "Enter")
    anna.wait(10)
    server.kill()
    anna.prefer()
    anna.page.get_by_text("Not saved yet").wait_for()
    again = Served(path, port=server.port)
    try:
        anna.wait(11)
        assert not anna.page.locator("#notice").is_visible()
        for done in range(11, 20):
            anna.prefer()
            anna.wait(done + 1)
        ben.page.reload()
        for done in range(10, 20):
            ben.wait(done)
            ben.prefer()
        for person in people:
            person.wait(20)
            person.page.get_by_text("All done").wait_for()
            assert person.complaints == []
            outside = [u for u in person.requests if f"127.0.0.1:{server.port}/" not in u]
            assert outside == []
            person.context.close()
    finally:
        again.kill()
    store = Store(path)
    found = records(store)
    assert len(found) == 40 and len({(r.task.id, r.annotator) for r in found}) == 40
    kinds = [record.verdict.kind for record in found]
    assert kinds.count("tie") == 1
    assert {r.verdict.ranks for r in found if r.verdict.kind == "ranked"} == {(2, 1)}
    store.close()


def test_nothing_in_a_text_or_a_name_runs_or_loads(chromium, store):
    prompt = ({"role": "<b>user", "content": EVIL}, {"role": "user", "content": EVIL})
    store.add([Task(prompt, (EVIL, EVIL + " more"))])
    with served(store) as port:
        anna = Person(chromium, port, "<img src=x onerror=document.title='run'>")
        anna.wait(0)
        for key in ("d", "d", "m", "m"):
            anna.press(key)
            anna.page.wait_for_timeout(100)
        body = anna.page.locator("main")
        assert anna.count("main script, main img, main svg, main iframe, main a, main b") == 0
        assert "<script>document.title = 'run'</script>" in body.inner_text()
        assert anna.page.title() == "luce: which is better?"
        assert "onerror" in anna.page.locator("#name").inner_text()
        assert {u.split("/")[2] for u in anna.requests} == {f"127.0.0.1:{port}"}
        assert anna.complaints == []
        anna.context.close()


def test_the_page_itself_may_run_nothing_from_elsewhere(chromium, store):
    store.add(tasks(1))
    with served(store) as port:
        anna = Person(chromium, port, "anna")
        anna.wait(0)
        anna.page.evaluate(
            "() => { const s = document.createElement('script');"
            " try { s.textContent = 'document.title = 1'; } catch { return; }"
            " document.body.append(s); }"
        )
        with pytest.raises(Exception, match="TrustedHTML"):
            anna.page.evaluate("() => { document.body.innerHTML = '<b>x</b>'; }")
        assert anna.page.title() == "luce: which is better?"
        anna.context.close()


def test_every_answer_by_keyboard(chromium, tmp_path):
    store = Store(tmp_path / "v.sqlite", Settings(dimensions=("helpful",)))
    store.add(tasks(6))
    with served(store) as port:
        anna = Person(chromium, port, "anna")
        anna.wait(0)
        anna.press("ArrowLeft", "e", "Enter")
        anna.wait(1)
        anna.press("2", "q", "c")
        anna.page.keyboard.type("because: t x s u")  # words, no commands
        anna.press("Control+Enter")
        anna.wait(2)
        anna.press("t", "Enter")
        anna.wait(3)
        anna.press("x", "Enter")
        anna.wait(4)
        anna.press("s")
        anna.wait(5)
        anna.page.locator("input[type=radio]").first.focus()
        anna.press("Space", "ArrowRight", "ArrowRight", "a", "Enter")
        anna.wait(6)
        anna.press("Enter", "a", "s")  # there is nothing to judge any more
        assert anna.complaints == []
        anna.context.close()
    by_order = [(r.verdict.placed(r.order, back=True), r) for r in records(store)]
    shown = [verdict for verdict, _ in by_order]
    assert [v.kind for v in shown] == ["ranked", "ranked", "tie", "bad", "skip", "ranked"]
    assert (shown[0].ranks, shown[0].strength) == ((1, 2), 3)
    assert (shown[1].ranks, shown[1].strength) == ((2, 1), 1)
    assert shown[1].comment == "because: t x s u"
    assert shown[5].ratings == {"helpful": (3, None)}
    store.close()


def test_several_responses_are_ranked(chromium, store):
    store.add([Task("Which?", ("one", "two", "three", "four"))])
    with served(store) as port:
        anna = Person(chromium, port, "anna", width=390)
        anna.wait(0)
        anna.press("3", "1", "2", "2", "w", "Enter")  # 2 is named and taken back
        anna.wait(1)
        assert anna.complaints == []
        anna.context.close()
    (record,) = records(store)
    assert record.verdict.placed(record.order, back=True).ranks == (2, 3, 1, 3)


def test_a_link_with_a_token_signs_in_and_leaves_no_token_behind(chromium, store):
    store.add(tasks(1))
    keys = Keys.beside(store.database.path)
    with served(store, Door(people=("anna b",))) as port:
        context = chromium.new_context()
        page = context.new_page()
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        token = keys.token("anna b")
        page.goto(f"http://127.0.0.1:{port}/#name=anna%20b&token={token}")
        page.get_by_text("0 done").wait_for()
        assert page.url == f"http://127.0.0.1:{port}/"
        assert token not in json.dumps(asked)
        assert page.evaluate("document.cookie") == ""  # no script can read it
        context.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits(chromium, store, width):
    wide = "x" * 400 + "\n\n```\n" + "y" * 300 + "\n```\n\n|" + "wide|" * 40 + "\n|" + "-|" * 40
    store.add([Task("p" * 300, (wide, "short"))])
    with served(store) as port:
        anna = Person(chromium, port, "n" * 60, width)
        anna.wait(0)
        for key in ("m", "d", "d"):
            assert anna.page.evaluate("document.documentElement.scrollWidth") <= width
            anna.press(key)
            anna.page.wait_for_timeout(100)
        anna.context.close()


def test_a_full_disk_is_shown_and_nothing_counts_as_saved(chromium, store):
    store.add(tasks(3))
    with served(store) as port:
        anna = Person(chromium, port, "anna")
        anna.wait(0)
        pages = store.database.do(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
        store.database.do(lambda c: c.execute(f"PRAGMA max_page_count = {pages}"))
        anna.press("c")
        anna.page.locator("#comment").fill("x" * 4000)
        anna.press("Escape", "a", "Enter")
        anna.page.get_by_text("Not saved. The disk is full.").wait_for()
        anna.page.locator("body:not([aria-busy])").wait_for()
        assert "0 done" in anna.page.locator("#count").inner_text()
        assert records(store) == []
        store.database.do(lambda c: c.execute("PRAGMA max_page_count = 100000"))
        anna.press("Enter")  # what was chosen is still there
        anna.wait(1)
        assert not anna.page.locator("#notice").is_visible()
        anna.context.close()
    (record,) = records(store)
    assert record.verdict.comment == "x" * 4000


def test_a_disagreement_is_settled_on_the_page(chromium, store):
    store.add(tasks(1))
    for name, ranks in (("anna", (1, 2)), ("ben", (2, 1))):
        shown = store.next(name)
        verdict = Verdict("ranked", ranks, None, {}, f"said {ranks}").placed(shown.order, True)
        store.vote(name, shown.task, f"{name:0>16}", verdict)
    with served(store, Door(adjudicators=("cleo",))) as port:
        cleo = Person(chromium, port, "cleo")
        cleo.wait(0)
        others = cleo.page.locator("#others").inner_text()
        assert "said (1, 2)" in others and "said (2, 1)" in others and "anna" not in others
        cleo.page.get_by_role("button", name="Agreement").click()
        cleo.page.get_by_text("Fleiss' kappa").wait_for()
        cleo.page.locator("body:not([aria-busy])").wait_for()
        cleo.prefer()
        cleo.wait(1)
        assert cleo.complaints == []
        cleo.context.close()
    (settled,) = [record for record in records(store) if record.adjudicates]
    assert settled.verdict.ranks == (2, 1)
