"""A large store: how long a judgement takes, printed for `pytest -m slow -s`, and nothing lost."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from annotation_client import Browser
from annotation_pages import served

from luce.annotate.server import Settings, Store, Task, records

CLIENT = Path(__file__).with_name("annotation_client.py")


@pytest.mark.slow
def test_ten_thousand_tasks_and_four_people(tmp_path, chromium):
    text = "Some words that a person reads before they say what they think of them. " * 25
    store = Store(tmp_path / "v.sqlite", Settings(overlap=2))
    store.add(
        Task(f"Question {i}?", (f"Wrong {i}. {text}", f"Right {i}. {text}")) for i in range(10_000)
    )
    with served(store) as port:
        # half of the store is judged before, so that open tasks lie behind complete ones
        store.database.do(
            lambda c: c.execute("UPDATE tasks SET complete = 1 WHERE number <= 5000"), writes=True
        )
        names = [f"p{i}" for i in range(3)]
        others = [
            subprocess.Popen([sys.executable, str(CLIENT), str(port), n, str(tmp_path / n)])
            for n in names
        ]
        page = chromium.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.locator("#sign-name").fill("anna")
        page.keyboard.press("Enter")
        took = []
        for done in range(50):
            page.locator("#count", has_text=f"{done} done").wait_for()
            page.locator("body:not([aria-busy])").wait_for()
            began = time.perf_counter()
            page.keyboard.press("a")
            page.keyboard.press("Enter")
            page.locator("#count", has_text=f"{done + 1} done").wait_for()
            page.locator("body:not([aria-busy])").wait_for()
            took.append(1000 * (time.perf_counter() - began))
        for each in others:
            each.terminate()
            each.wait()
        median, worst = np.median(took), np.percentile(took, 95)
        print(f"\nbrowser, 3 others voting: median {median:.0f} ms, 95 % {worst:.0f} ms")
        alone, browser = [], Browser(port)
        browser.sign_in("ben")
        for i in range(50):
            given = browser.next()
            began = time.perf_counter()
            browser.vote(given["task"]["number"], f"ben-{i:016d}")
            browser.next()
            alone.append(1000 * (time.perf_counter() - began))
        print(f"server alone: median {np.median(alone):.0f} ms, most {max(alone):.0f} ms")
    found = records(store)
    said = {n: len((tmp_path / n).read_text().split()) for n in names}
    kept = {n: sum(r.annotator == n for r in found) for n in names}
    assert all(0 <= kept[n] - said[n] <= 1 for n in names), (kept, said)
    assert sum(r.annotator == "anna" for r in found) == 50
    assert len({(r.task.id, r.annotator) for r in found}) == len(found)
    store.close()
