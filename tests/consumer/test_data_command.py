"""``emotion-stream data`` as a person types it."""

import csv
import hashlib
import json
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

import features
from consumer.commands import data
from features import FEATURE_NAMES
from model.cleaning import published_ranges
from model.versions import DatasetStore


def write_table(path: Path, changes: dict[str, str] | None = None) -> Path:
    header = ["Class", *FEATURE_NAMES]
    ranges = published_ranges()
    row = {"Class": "sad", **{name: f"{sum(ranges[name]) / 2:.3f}" for name in FEATURE_NAMES}, **(changes or {})}
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, [row[name] for name in header]])
    return path


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(data.command, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_fetch_other_content_is_refused_and_nothing_written(tmp_path: Path) -> None:
    source = tmp_path / "x.csv"
    source.write_text("Class\n")
    status, output = run("fetch", "--from", source, "--output", tmp_path / "out.csv")
    assert status == 1
    assert "SHA-256" in output
    assert not (tmp_path / "out.csv").exists()


def test_fetch_archive_gives_the_table_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"Class,a\nsad,1\n"
    monkeypatch.setattr(data, "TABLE_SHA256", hashlib.sha256(content).hexdigest())
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
        archive.writestr("Acoustic Features.csv", content)
    status, _ = run("fetch", "--from", tmp_path / "a.zip", "--output", tmp_path / "out.csv")
    assert status == 0
    assert (tmp_path / "out.csv").read_bytes() == content


def test_fetch_unreachable_url_says_what_to_do(tmp_path: Path) -> None:
    status, output = run("fetch", "--url", "http://127.0.0.1:9/x.zip", "--output", tmp_path / "out.csv")
    assert status == 1
    assert "--from FILE" in output


def test_check_dirty_table_exits_1_and_clean_one_0(tmp_path: Path) -> None:
    assert run("check", write_table(tmp_path / "clean.csv"))[0] == 0
    assert run("check", write_table(tmp_path / "dirty.csv", {"_Tempo_Mean": "?"}))[0] == 1


def test_clean_writes_table_and_report(tmp_path: Path) -> None:
    dirty = write_table(tmp_path / "dirty.csv", {"_Tempo_Mean": "?", "Class": " SAD "})
    status, output = run(
        "clean", dirty, "--output", tmp_path / "clean.csv", "--report", tmp_path / "report.csv", "--json"
    )
    assert status == 0
    assert json.loads(output)["counts"] == {"not_a_number": 1, "spelling": 1}
    with (tmp_path / "report.csv").open() as file:
        assert [row["rule"] for row in csv.DictReader(file)] == ["spelling", "not_a_number"]


def test_commit_dirty_table_is_refused_with_row(tmp_path: Path) -> None:
    dirty = write_table(tmp_path / "dirty.csv", {"Class": "SAD"})
    status, output = run("commit", dirty, "--store", tmp_path / "store")
    assert status == 1
    assert "row 1" in output
    assert "data clean" in output


def test_commit_then_versions_and_sample_round_trip(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv")
    assert run("commit", table, "--store", tmp_path / "store", "-m", "mine")[0] == 0
    status, output = run("versions", "--store", tmp_path / "store", "--json")
    assert status == 0
    assert [entry["message"] for entry in json.loads(output)] == ["mine"]
    status, output = run("sample", "--store", tmp_path / "store", "--per-class", 1)
    assert status == 1
    assert "relax" in output


@pytest.mark.parametrize("line", ["gone.wav,sad", "a.wav,joyful"])
def test_add_bad_label_names_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.wav").write_bytes(b"")
    labels = tmp_path / "labels.csv"
    labels.write_text(f"path,emotion\n{line}\n")
    status, output = run("add", tmp_path, "--labels", labels, "--store", tmp_path / "store")
    assert status == 1
    assert "line 2" in output


@pytest.mark.skipif(not hasattr(features, "extract_file"), reason="waits for the ear")
def test_add_audio_is_heard_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile = pytest.importorskip("soundfile")
    np = pytest.importorskip("numpy")
    music = tmp_path / "music"
    music.mkdir()
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        soundfile.write(music / f"{name}.wav", generator.normal(0, 0.1, 44_100 * 8), 44_100)
    (music / "broken.wav").write_bytes(b"not audio")
    labels = tmp_path / "labels.csv"
    labels.write_text("path,emotion\na.wav,sad\nb.wav,happy\nbroken.wav,sad\n")
    store = tmp_path / "store"
    status, output = run("add", music, "--labels", labels, "--store", store)
    assert status == 1
    assert "2 heard now, 0 known already, 1 unusable" in output
    assert "broken.wav: " in output
    assert len(DatasetStore(store).read()) == 2
    labels.write_text("path,emotion\na.wav,relax\nb.wav,happy\n")
    status, output = run("add", music, "--labels", labels, "--store", store)
    assert status == 0
    assert "0 heard now, 2 known already" in output
    assert sorted(e.emotion for e in DatasetStore(store).read()) == ["happy", "relax"]
