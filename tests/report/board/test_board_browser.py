"""The board and the report in a real browser."""

import json
import os
import shutil

import pytest
from board_pages import KEYS, served

from luce.report import write_report
from luce.report.board.api import Door

EVIL = (
    "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"
    "<svg onload=\"document.title='run'\"><iframe src=http://outside.invalid></iframe>"
    "<a href=\"javascript:document.title='run'\">x</a>\x00\u202e"
)
WIDTHS = (1280, 390)


class Reader:
    """Somebody at a browser; whatever the page loads or complains of is noted."""

    def __init__(self, browser, width=1280, scheme="light"):
        size = {"width": width, "height": 900}
        self.context = browser.new_context(viewport=size, color_scheme=scheme)
        self.page = self.context.new_page()
        self.requests, self.complaints = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self.complaints.append(message.text))

    def open(self, address):
        self.page.goto(address)
        return self

    def wait(self, text):
        self.page.get_by_text(text).first.wait_for(timeout=60_000)

    def fits(self):
        return self.page.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )

    def end(self, inside):
        assert self.complaints == []
        assert [url for url in self.requests if not url.startswith(inside)] == []
        self.context.close()


@pytest.fixture
def evil(runs, make_samples):
    """The same runs; everything that a model or a file can say is an attack."""
    rows = make_samples(2)
    for row in rows:
        row |= {"prompt": EVIL, "after": EVIL, "before": EVIL}
    for name in ("done", "deep/er/stopped"):
        (runs / name / "samples.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        manifest = json.loads((runs / name / "manifest.json").read_text())
        manifest["name"] = EVIL
        manifest["objective"]["name"] = EVIL
        manifest["objective"]["formula"] = EVIL
        (runs / name / "manifest.json").write_text(json.dumps(manifest))
        (runs / name / "recipe.yaml").write_text(f"name: x\nkey: {json.dumps(EVIL + name)}\n")
    evaluation = json.loads((runs / "done/evaluation.json").read_text())
    evaluation["win_rate"]["annotator"] = EVIL
    (runs / "done/evaluation.json").write_text(json.dumps(evaluation))
    return runs


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_fits_and_asks_nobody_else(chromium, runs, width, scheme):
    with served(runs) as port:
        base = f"http://127.0.0.1:{port}/"
        reader = Reader(chromium, width, scheme).open(base)
        reader.wait("5 runs")
        assert reader.fits()
        for view, text in (
            ("#/run/done", "Log-probability per token"),
            ("#/run/rounds", "Reward of answers"),
            ("#/run/lab%2Fsome-claim", "a slope"),
            ("#/compare/done&deep%2Fer%2Fstopped&rounds", "Prompt 1"),
            ("report?run=done", "Samples before and after"),
            ("report?run=rounds", "By annotations"),
            ("comparison?run=done&run=deep/er/stopped", "Results"),
        ):
            if view.startswith("#/run/lab"):  # a picture that is none: told by the browser
                (runs / "lab/some-claim/a.png").unlink(missing_ok=True)
            reader.open(base + view)
            reader.wait(text)
            assert reader.fits(), view
        reader.end(base)


def test_nothing_that_a_model_said_runs(chromium, evil):
    with served(evil) as port:
        base = f"http://127.0.0.1:{port}/"
        reader = Reader(chromium).open(base)
        reader.wait("<script>document.title")
        for view in ("", "#/run/done", "#/compare/done&deep%2Fer%2Fstopped", "report?run=done",
                     "comparison?run=done&run=deep/er/stopped"):  # fmt: skip
            reader.open(base + view)
            reader.wait("onerror=")
            found = "main img, main iframe, main script, main a[href^='javascript:']"
            assert reader.page.locator(found).count() == 0, view
            assert reader.page.title() != "run"
            assert "[U+202E]" in reader.page.locator("body").inner_text()
        reader.end(base)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_report_of_a_folder_is_whole_by_itself(chromium, evil, width):
    path = write_report(evil / "done")
    reader = Reader(chromium, width).open(f"file://{path}")
    assert reader.fits() and reader.page.title() != "run"
    reader.page.locator("#search").fill("nothing like this")
    assert reader.page.locator("article.sample:visible").count() == 0
    reader.page.locator("#search").fill("onerror")
    assert reader.page.locator("article.sample:visible").count() == 2
    folded = "[...document.querySelectorAll('details:not([open])')].map(d => d.scrollHeight)"
    assert max(reader.page.evaluate(folded)) < 60
    reader.page.emulate_media(media="print")
    assert min(reader.page.evaluate(folded)) > 60  # paper cannot be unfolded
    reader.end("file://")


def test_every_page_fits_on_paper(chromium, swept):
    """A4 between margins of 12 mm is 703 pixels wide."""
    with served(swept) as port:
        base = f"http://127.0.0.1:{port}/"
        reader = Reader(chromium, 703)
        reader.page.emulate_media(media="print")
        for view in ("report?run=done", "report?run=rounds", "sweep?run=recipe-sweep",
                     "comparison?run=done&run=deep/er/stopped"):  # fmt: skip
            reader.open(base + view)
            assert reader.fits(), view
        reader.end(base)


def test_the_table_is_sorted_filtered_and_chosen_from_by_keyboard(chromium, runs):
    with served(runs) as port:
        base = f"http://127.0.0.1:{port}/"
        reader = Reader(chromium).open(base)
        page = reader.page
        reader.wait("5 runs")

        def names():
            return page.locator("tbody .path").all_inner_texts()

        head = page.get_by_role("columnheader", name="Win rate")
        head.get_by_role("button").focus()
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "descending"
        assert names()[:2] == ["done", "rounds"]  # 71.5 % and 70 %; the unknown stand last
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "ascending"
        assert names()[:2] == ["rounds", "done"]
        page.locator("#filter").fill("simpo")
        assert names() == ["deep/er/stopped"]
        page.locator("#filter").fill("")
        page.locator("#state").select_option("finished")
        assert sorted(names()) == ["done", "rounds"]
        for name in ("done", "rounds"):
            page.get_by_label(f"Choose {name}").focus()
            page.keyboard.press("Space")
        page.get_by_role("button", name="Compare 2 runs").focus()
        page.keyboard.press("Enter")
        reader.wait("train.learning_rate")
        page.locator("#find").fill("guest")
        assert page.locator("article.sample:visible").count() > 0
        page.go_back()
        page.get_by_role("button", name="Compare 2 runs").wait_for()  # what was chosen is kept
        page.get_by_role("link", name="hh-dpo").or_(page.locator("tbody a")).first.click()
        reader.wait("Verdict")
        reader.end(base)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_runs_of_a_sweep_unfold_by_keyboard(chromium, swept, width):
    with served(swept) as port:
        base = f"http://127.0.0.1:{port}/"
        reader = Reader(chromium, width).open(base)
        page = reader.page
        reader.wait("9 runs")
        assert page.locator("tbody tr").count() == 6  # five runs and the sweep

        def members():
            return page.locator("tbody tr.member .path").all_inner_texts()

        assert members() == []
        page.get_by_label("Runs of recipe-sweep").focus()
        page.keyboard.press("Enter")
        assert len(members()) == 4 and all(path.startswith("recipe-sweep/") for path in members())
        fold = page.get_by_label("Runs of recipe-sweep")
        assert fold.get_attribute("aria-expanded") == "true"
        assert fold.evaluate("e => e === document.activeElement")
        assert reader.fits()
        page.keyboard.press("Enter")
        assert members() == []
        page.locator("#filter").fill("beta=0.5,seed=1")  # who searches sees it all the same
        assert members() == ["recipe-sweep/beta=0.5,seed=1"]
        assert page.locator("tbody tr").count() == 2
        page.locator("#filter").fill("")
        page.get_by_role("link", name="recipe-sweep").click()
        reader.wait("Mean ± standard deviation over the seeds of each setting")
        assert reader.fits()
        page.get_by_role("link", name="beta=0.1,seed=0").click()
        reader.wait("Samples before and after")
        reader.end(base)


def test_curves_grow_as_the_run_does(chromium, runs, make_metrics):
    rows = make_metrics(200, 50)
    folder = runs / "live"
    shutil.copytree(runs / "deep/er/stopped", folder)
    lines = [json.dumps(row) + "\n" for row in rows]
    (folder / "metrics.jsonl").write_text("".join(lines[:40]))
    with served(runs) as port:
        base = f"http://127.0.0.1:{port}/"
        reader = Reader(chromium).open(base + "#/run/live")
        page = reader.page
        reader.wait("In training at step 39")
        line = page.locator("figure", has_text="Loss").first.locator("path.line").first
        before = line.get_attribute("d")
        with open(folder / "metrics.jsonl", "a") as stream:
            stream.write("".join(lines[40:150]) + lines[150][:30])  # and half a line
        reader.wait("In training at step 147")
        assert line.get_attribute("d") != before
        with open(folder / "metrics.jsonl", "a") as stream:
            stream.write(lines[150][30:] + "".join(lines[151:]))
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | {"status": "finished"}))
        page.get_by_role("heading", name="Verdict", exact=True).wait_for(timeout=30_000)
        assert page.get_by_text("In training").count() == 0
        for path in folder.iterdir():
            os.utime(path, (1.7e9, 1.7e9))
        reader.end(base)


def test_a_run_that_goes_is_told_and_the_board_stays(chromium, runs):
    with served(runs) as port:
        base = f"http://127.0.0.1:{port}/"
        reader = Reader(chromium).open(base + "#/run/deep%2Fer%2Fstopped")
        reader.wait("The run was stopped at step 60")
        shutil.rmtree(runs / "deep")
        reader.wait("No run is there.")
        reader.complaints = [c for c in reader.complaints if "404" not in c]  # the browser's own
        reader.page.get_by_role("link", name="All runs").click()
        reader.wait("4 runs")
        reader.end(base)


def test_the_token_of_the_link_opens_the_board_and_leaves_the_address(chromium, runs):
    token = KEYS.token(None)
    with served(runs, Door(token=True)) as port:
        base = f"http://127.0.0.1:{port}/"
        reader = Reader(chromium).open(base + f"#token={token}")
        reader.wait("5 runs")
        assert reader.page.url == base
        assert not any(token in url for url in reader.requests[1:])
        assert reader.page.evaluate("document.cookie") == ""
        other = Reader(chromium).open(base)
        other.wait("The token of this board")
        other.page.locator("#token").fill("wrong")
        other.page.keyboard.press("Enter")
        other.wait("not the token of this board")
        other.complaints.clear()  # the browser tells of the reply 401
        other.page.locator("#token").fill(token)
        other.page.keyboard.press("Enter")
        other.wait("5 runs")
        other.end(base)
        reader.end(base)


def test_what_is_small_can_be_read_against_its_ground(chromium, runs):
    """WCAG 2.1 AA, 4.5 to 1, of every text on the board and the report, on light and dark."""
    with served(runs) as port:
        base = f"http://127.0.0.1:{port}/"
        for scheme in ("light", "dark"):
            reader = Reader(chromium, 1280, scheme)
            for view, text in (("", "5 runs"), ("#/run/done", "Gradient norm"),
                               ("report?run=done", "Reproduce")):  # fmt: skip
                reader.open(base + view)
                reader.wait(text)
                assert reader.page.evaluate(CONTRAST) == [], (scheme, view)
            reader.end(base)


CONTRAST = """() => {
  const part = (c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const light = (c) => 0.2126 * part(c[0]) + 0.7152 * part(c[1]) + 0.0722 * part(c[2]);
  const color = (text) => {
    const c = text.match(/[\\d.]+/g).map(Number);
    return c.length === 3 ? [...c, 1] : c;
  };
  const found = new Set();
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || element.disabled || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const ink = color(element.namespaceURI.endsWith("svg") ? style.fill : style.color);
    let ground = null;
    for (let at = element; at && !ground; at = at.parentElement) {
      const c = color(getComputedStyle(at).backgroundColor);
      if (c[3] > 0) ground = c;
    }
    const [a, b] = [light(ink), light(ground || [255, 255, 255])].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const name = element.className.baseVal ?? element.className;
    if (ratio < 4.5) found.add(`${element.tagName}.${name} ${ratio.toFixed(2)}`);
  }
  return [...found];
}"""
