"""The catalogue report: what it counts, what it escapes, and what a browser makes of it."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from consumer.batch.rows import write_rows
from consumer.commands.report import command
from consumer.errors import ConfigurationError
from consumer.reports.catalogue import Track, read_tracks, render
from tests.consumer.batch.test_classify import rows

HOSTILE = "music/</script><script>document.title='broken in'</script>&<b>.mp3"


def tracks() -> list[Track]:
    return [
        Track("rock/a.mp3", "angry", 0.91, -0.8, 0.9, 1, "apply"),
        Track("rock/b.mp3", "angry", 0.41, -0.2, 0.3, 3, "suggest"),
        Track("calm/c.mp3", "relax", 0.55, 0.4, -0.5, 2, "withhold", out_of_domain=True),
        Track(HOSTILE, "sad", 1.0, -1.0, -1.0, 1, "apply"),
        Track("calm/d.mp3", reason="decode"),
    ]


def browse(page: Path, *flags_too: str) -> str:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs Debian's package chromium")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    quiet = ["--disable-background-networking", f"--user-data-dir={page.parent}/browser", "--virtual-time-budget=3000"]
    done = subprocess.run(
        [program, *flags, *quiet, *flags_too, "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_read_tracks_all_formats_say_the_same(tmp_path: Path, suffix: str) -> None:
    results = tmp_path / f"out.{suffix}"
    write_rows(results, rows())
    judged, failed = read_tracks(results)
    assert judged == Track("a.wav", "sad", 0.7, -0.5, -0.4, 2, "apply")
    assert failed == Track("b.wav", reason="decode")


def test_read_tracks_other_file_raises_with_row(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"path": "a.wav", "reason": "decode"}\n{"hello": 1}\n')
    with pytest.raises(ConfigurationError, match="row 2"):
        read_tracks(tmp_path / "x.jsonl")


def test_read_tracks_empty_file_raises(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").touch()
    with pytest.raises(ConfigurationError, match="no rows"):
        read_tracks(tmp_path / "x.jsonl")


def test_render_refers_to_no_other_file_or_host() -> None:
    page = render(tracks(), "Mine")
    assert "http://" not in page
    assert "https://" not in page
    assert "src=" not in page
    assert "<link" not in page


def test_render_reviews_withheld_before_suggested_and_never_applied() -> None:
    page = render(tracks(), "Mine")
    review = page[page.index("Listen to these first") : page.index("By folder")]
    assert review.index("calm/c.mp3") < review.index("rock/b.mp3")
    assert "rock/a.mp3" not in review


def test_render_hostile_path_stays_text(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(render(tracks(), "Mine <&>"), encoding="utf-8")
    assert page.read_text().count("<script") == 2
    dom = browse(page)
    assert "<title>Mine &lt;&amp;&gt;</title>" in dom
    assert "broken in&#39;" not in dom.split("<body>")[0]


def test_page_in_a_browser_lists_every_track(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(render(tracks(), "Mine"), encoding="utf-8")
    dom = browse(page)
    assert "5 of 5 tracks" in dom
    body = dom[dom.index('<tbody id="rows">') :]
    assert body.index("music/") < body.index("rock/a.mp3") < body.index("calm/c.mp3")
    assert "(unlike the training data)" in body


def test_report_command_writes_the_page(tmp_path: Path) -> None:
    results = tmp_path / "out.jsonl"
    write_rows(results, rows())
    done = CliRunner().invoke(command, ["catalogue", str(results), "--output", str(tmp_path / "report.html")])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "report.html").read_text()
    data = page[page.index('type="application/json">') + 24 :]
    assert [track[0] for track in json.loads(data[: data.index("</script>")])] == ["a.wav", "b.wav"]
