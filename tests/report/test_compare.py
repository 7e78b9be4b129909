import pytest

from luce.errors import LuceError
from luce.report import write_comparison


def test_runs_stand_side_by_side_with_their_intervals(run_folder, write_run, evaluation, tmp_path):
    evaluation["win_rate"] |= {"value": 0.6, "low": 0.55, "high": 0.65}
    other = write_run("<b>simpo", evaluation=evaluation)
    path = write_comparison([run_folder, other], tmp_path / "compare.html")
    text = path.read_text().replace("\xa0", " ")
    assert "66.0–76.8 %" in text and "55.0–65.0 %" in text
    assert "&lt;b&gt;simpo" in text and "<b>simpo" not in text
    assert 'id="accuracy-title"' in text and 'id="chosen-title"' in text
    assert "http://" not in text and "https://" not in text and "<script" not in text
    assert "not all trained and held out on the same data" not in text


def test_runs_on_different_data_are_not_compared_in_silence(
    run_folder, write_run, with_manifest, tmp_path
):
    other = write_run("other", manifest=with_manifest({"data_fingerprint": "elsewhere"}))
    path = write_comparison([run_folder, other], tmp_path / "compare.html")
    assert "not all trained and held out on the same data" in path.read_text()


def test_runs_of_different_kinds_share_a_page(run_folder, write_run, tmp_path):
    bare = write_run("bare", manifest={}, metrics=[], evaluation=None, sampled=[], ledger=[])
    text = write_comparison([bare, run_folder], tmp_path / "compare.html").read_text()
    assert "None" not in text and "not finished" in text


def test_two_runs_of_one_recipe_are_told_apart_by_their_folders(write_run, with_manifest, tmp_path):
    manifest = with_manifest({"luce": "0.1.0"}) | {"name": "hh"}
    folders = [write_run(name, manifest=manifest) for name in ("seed-0", "seed-1")]
    text = write_comparison(folders, tmp_path / "compare.html").read_text()
    assert "A hh (seed-0)" in text and "B hh (seed-1)" in text


def test_a_comparison_needs_two_runs_and_takes_eight(run_folder, tmp_path):
    with pytest.raises(LuceError, match="takes 2 to 8 runs; 1 were given"):
        write_comparison([run_folder], tmp_path / "compare.html")
    with pytest.raises(LuceError, match="takes 2 to 8 runs; 9"):
        write_comparison([run_folder] * 9, tmp_path / "compare.html")


def test_one_run_named_twice_is_refused(run_folder, tmp_path):
    with pytest.raises(LuceError, match="named twice"):
        write_comparison([run_folder, run_folder / "." / ""], tmp_path / "compare.html")
