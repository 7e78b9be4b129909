"""The board over HTTP: who may ask, what is told, and what is never let out."""

import json
import shutil
import socket
from urllib.parse import quote

import pytest
from board_pages import KEYS, all_runs, get, served

from luce.cli.main import run as command
from luce.report.board.api import Door
from luce.report.board.serve import link

EVIL = "</script><script>document.title='run'</script><img src=x onerror=alert(1)>\x00\u202e"
READS = ("/api/runs", "/api/run?run=done", "/api/beside?run=done&run=rounds", "/report?run=done",
         "/comparison?run=done&run=rounds", "/picture?run=lab%2Fsome-claim&name=a.png")  # fmt: skip


def test_the_table_tells_of_every_run(runs):
    with served(runs) as port:
        rows = all_runs(port)
        assert set(rows) == {"damaged", "deep/er/stopped", "done", "lab/some-claim", "rounds"}
        _, _, found = get(port, "/api/runs")
        _, _, again = get(port, f"/api/runs?seen={found['tag']}")
        assert again == {"tag": found["tag"], "unchanged": True}


def test_nothing_is_served_under_a_foreign_name(runs):
    with served(runs) as port:
        for path in ("/", *READS):
            status, _, found = get(port, path, {"Host": "evil.example"})
            assert status == 403 and "not served under that name" in str(found), path
        assert get(port, "/api/runs", {"Origin": "http://evil.example"})[0] == 403
        assert get(port, "/api/runs", {"Sec-Fetch-Site": "cross-site"})[0] == 403
        assert get(port, "/api/runs", {"Host": f"localhost:{port}"})[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(runs, method):
    with served(runs) as port:
        for path in ("/", *READS):
            assert get(port, path, method=method)[0] in (403, 405), path


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../..",
        "/etc",
        "done/..",
        "%2e%2e",
        "link",
        "done\x00",
        "deep",
        "web/../../x",
        "\ud800",
    ],
)
def test_a_path_that_leads_out_is_not_found(runs, tmp_path, path):
    shutil.copytree(runs / "done", tmp_path / "elsewhere")
    (runs / "link").symlink_to(tmp_path / "elsewhere")
    asked = quote(path.encode("utf-8", "surrogatepass"))
    with served(runs) as port:
        for view in ("/api/run?run=", "/report?run=", "/api/beside?run=done&run=",
                     "/comparison?run=done&run=", "/picture?name=a.png&run="):  # fmt: skip
            status, _, found = get(port, view + asked)
            assert status in (400, 404) and "error" in found, (view, found)
            assert str(tmp_path) not in str(found)


@pytest.mark.parametrize("name", ["../numbers.json", "numbers.json", "..%2fa.png", "b.png", ""])
def test_only_pictures_of_an_experiment_are_shown(runs, name):
    (runs / "lab/some-claim/b.png").symlink_to("/etc/passwd")
    with served(runs) as port:
        assert get(port, f"/picture?run=lab%2Fsome-claim&name={name}")[0] == 404
        status, headers, _ = get(port, "/picture?run=lab%2Fsome-claim&name=a.png")
        assert status == 200 and headers["content-type"] == "image/png"


def test_a_report_may_run_its_own_script_only_and_the_table_none_but_files(runs):
    with served(runs) as port:
        _, headers, text = get(port, "/report?run=done")
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'sha256-" in policy
        assert "frame-ancestors 'none'" in policy and "script-src 'self'" not in policy
        assert 'href="/">All runs</a>' in text
        _, headers, _ = get(port, "/")
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe-inline" not in headers["content-security-policy"]
        for name in ("x-content-type-options", "x-frame-options", "referrer-policy"):
            assert name in headers


def test_a_report_is_made_of_the_run_and_not_of_a_page_that_lies_in_it(runs):
    (runs / "done/report.html").write_text("<script>alert('planted')</script>")
    with served(runs) as port:
        status, _, text = get(port, "/report?run=done")
        assert status == 200 and "planted" not in text and "71.5" in text
        assert (runs / "done/report.html").read_text().endswith("planted')</script>")


def test_a_run_is_told_with_its_curves_as_plain_numbers(runs):
    rows = [json.loads(line) for line in (runs / "done/metrics.jsonl").read_text().splitlines()]
    rows[5]["loss"] = float("nan")
    (runs / "done/metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with served(runs) as port:
        status, _, found = get(port, "/api/run?run=done")
        assert status == 200 and found["state"] == "finished"
        accuracy = next(c for c in found["curves"] if c["name"] == "accuracy")
        kinds = [line["kind"] for line in accuracy["lines"]]
        assert kinds == ["batches", "line", "points"]
        points = accuracy["lines"][2]
        assert points["x"] == points["ends"] == list(range(0, 401, 50))
        assert points["low"][0] == pytest.approx(0.43) and points["high"][0] == pytest.approx(0.56)
        assert all(len(line["x"]) == len(line["y"]) <= 300 for line in accuracy["lines"])
        assert "held out: 0.500 at step 0" in accuracy["words"]


def test_an_online_run_is_told_by_annotations_with_its_parts(runs):
    (runs / "rounds/rounds/001").mkdir()
    shutil.copytree(runs / "done", runs / "rounds/rounds/001/train")
    with served(runs) as port:
        _, _, found = get(port, "/api/run?run=rounds")
        rate = next(c for c in found["curves"] if c["name"] == "win_rate")
        assert rate["x"] == "annotations" and rate["lines"][0]["x"] == [0, 20, 40]
        assert found["parts"] == [{"path": "rounds/001/train", "state": "finished"}]
        assert get(port, "/api/run?run=rounds/rounds/001/train")[0] == 200
        assert "After 2 rounds" in get(port, "/report?run=rounds")[2]


def test_an_experiment_is_told_with_its_checks(runs):
    with served(runs) as port:
        _, _, found = get(port, "/api/run?run=lab%2Fsome-claim")
        assert found["checks"] == [{"what": "a slope", "expected": "1", "passed": "yes"}]
        assert found["pictures"] == ["a.png"]
        assert get(port, "/report?run=lab%2Fsome-claim")[0] == 400


def test_recipes_and_samples_stand_beside_each_other(runs):
    with served(runs) as port:
        _, _, found = get(port, "/api/beside?run=done&run=deep/er/stopped&run=rounds")
        given = {one["key"]: one["given"] for one in found["recipe"]}
        assert given == {"train.learning_rate": ["1.0e-06", "3.0e-06", None]}
        texts = {s["prompt"]["text"]: s["sides"] for s in reversed(found["samples"])}
        sides = texts["Say hello to a guest."]
        assert sides[0]["text"].startswith("Good morning, and welcome!")
        assert sides[0]["reward"] == 1.0 and sides[2]["text"] == "Good morning <b>"
        assert get(port, "/api/beside?run=done&run=done")[0] == 400
        assert get(port, "/api/beside?run=done")[0] == 400
        assert "Results" in get(port, "/comparison?run=done&run=deep/er/stopped")[2]


def test_half_written_and_vanished_runs_are_told_and_break_nothing(runs):
    with open(runs / "done/metrics.jsonl", "a") as stream:
        stream.write('{"split": "train", "step": 4')
    with served(runs) as port:
        _, _, found = get(port, "/api/run?run=done")
        assert any("ends in the middle of line" in text for text in found["cautions"])
        (runs / "done/manifest.json").write_text('{"luce"')
        assert get(port, "/api/run?run=done")[0] == 400
        assert get(port, "/report?run=done")[0] == 400
        assert all_runs(port)["done"]["state"] == "damaged"
        shutil.rmtree(runs / "done")
        assert get(port, "/api/run?run=done")[0] == 404
        assert get(port, "/report?run=done")[0] == 404
        (runs / "rounds/recipe.yaml").unlink()
        assert get(port, "/report?run=rounds")[0] == 404


def test_what_a_model_said_is_text_that_shows(runs, make_samples):
    rows = make_samples(2)
    for row in rows:
        row |= {"prompt": EVIL, "after": EVIL, "before": EVIL}
    for name in ("done", "deep/er/stopped"):
        (runs / name / "samples.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    with served(runs) as port:
        _, _, text = get(port, "/report?run=done")
        assert text.count("<script>") == 1 and "<img" not in text and "␀[U+202E]" in text
        _, _, found = get(port, "/api/beside?run=done&run=deep/er/stopped")
        assert found["samples"][0]["sides"][0]["text"].endswith("␀[U+202E]")


def test_with_a_token_nothing_is_told_before_it_is_given(runs):
    with served(runs, Door(token=True)) as port:
        for path in READS:
            status, _, found = get(port, path)
            assert status == 401 and "token" in found["error"], path
        assert get(port, "/")[0] == 200  # the page that asks for it
        _, headers, me = get(port, "/api/me")
        assert me["known"] is False
        cookie = headers["set-cookie"].split(";")[0]
        assert "HttpOnly" in headers["set-cookie"] and "SameSite=strict" in headers["set-cookie"]
        given = {"Cookie": cookie, "Content-Type": "application/json", "X-Luce-Form": me["form"]}
        for token, status in (("wrong", 401), (KEYS.token(None), 200)):
            body = json.dumps({"token": token})
            found = get(port, "/api/sign-in", given, "POST", body)
            assert found[0] == status
        form = {k: v for k, v in given.items() if k != "X-Luce-Form"}
        assert get(port, "/api/sign-in", form, "POST", body)[0] == 403
        known = {"Cookie": found[1]["set-cookie"].split(";")[0]}
        for path in READS:
            assert get(port, path, known)[0] == 200, path
        assert get(port, "/api/runs", {"Cookie": cookie})[0] == 401  # of before the token


class Bound(socket.socket):
    def __init__(self, host):
        super().__init__()
        self.host = host

    def getsockname(self):
        return self.host, 80


@pytest.mark.parametrize(
    ("host", "door", "found"),
    [
        ("127.0.0.1", Door(), "http://127.0.0.1:80/"),
        ("::1", Door(), "http://[::1]:80/"),
        ("0.0.0.0", Door(True, ("box",)), f"http://box:80/#token={KEYS.token(None)}"),
    ],
)
def test_the_link_leads_to_the_board(host, door, found):
    with Bound(host) as bound:
        assert link(bound, KEYS, door) == found


def test_whoever_lets_others_in_asks_for_a_token(runs, monkeypatch):
    doors = []

    class Ended(Exception):
        pass

    def listening(host, port):
        doors.append(host)
        raise Ended

    monkeypatch.setattr("luce.report.board.serve.Door", lambda *a: doors.append(a) or Door(*a))
    monkeypatch.setattr("luce.report.board.serve.listen", listening)
    from luce.report.board.serve import serve

    for given in ({}, {"host": "10.0.0.7"}, {"hosts": ("box",)}, {"token": True}):
        with pytest.raises(Ended):
            serve(runs, **given)
    asked = [door for door in doors if isinstance(door, tuple)]
    assert asked == [(False, ()), (True, ("10.0.0.7",)), (True, ("box",)), (True, ())]
    assert doors[0::2] != [] and "127.0.0.1" in doors


def test_the_command_says_what_is_missing(tmp_path, monkeypatch, capsys):
    assert command(["board", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert command(["board", str(tmp_path)]) == 2
    assert "pip install 'luce[ui]'" in capsys.readouterr().err
