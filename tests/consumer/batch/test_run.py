"""The batch run: audio that was judged before is not heard again, under whatever name it comes."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from consumer.analyst import AnalysisRequest
from consumer.batch.files import audio_digest, fingerprint, stamp
from consumer.batch.inputs import Item
from consumer.batch.journal import Journal
from consumer.batch.rows import Row
from consumer.batch.run import classify_pending
from consumer.errors import AudioRejectedError, FatalError
from consumer.pipeline import Analysis
from tests.consumer.test_new_lane import FakePool


class HearingPool(FakePool):
    """Gives the digest of what it was asked to hear."""

    async def run(self, request: AnalysisRequest) -> Analysis:
        analysis = await super().run(request)
        fields = {name: getattr(analysis, name) for name in analysis.__struct_fields__}
        return Analysis(**fields | {"audio_sha256": audio_digest(request.audio_uri)})


def heard(journal: Journal, pool: Any, *paths: Path) -> list[Row]:
    """Classify files one by one, and give their rows."""
    rows: list[Row] = []
    journal.want(Item(str(path), path.name) for path in paths)
    asyncio.run(classify_pending(journal, pool, model_version="m-1", workers=1, on_row=rows.append))
    return rows


def test_moved_audio_is_recognised_by_its_digest_and_not_heard_again(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"music" * 50_000)
    pool = HearingPool()
    with Journal(tmp_path / "journal", "m-1") as journal:
        (first,) = heard(journal, pool, tmp_path / "a.wav")
        (tmp_path / "a.wav").rename(tmp_path / "b.wav")
        (second,) = heard(journal, pool, tmp_path / "b.wav")
        assert journal.tally().done == 1
    assert len(pool.requests) == 1
    assert (second.path, second.audio_sha256) == (str(tmp_path / "b.wav"), first.audio_sha256)
    assert second.confidence == first.confidence


def test_audio_that_differs_in_the_middle_alone_is_heard(tmp_path: Path) -> None:
    music = bytearray(b"music" * 50_000)
    (tmp_path / "a.wav").write_bytes(music)
    music[125_000] ^= 1
    (tmp_path / "b.wav").write_bytes(music)
    assert fingerprint(str(tmp_path / "a.wav")) == fingerprint(str(tmp_path / "b.wav"))
    pool = HearingPool()
    with Journal(tmp_path / "journal", "m-1") as journal:
        heard(journal, pool, tmp_path / "a.wav")
        heard(journal, pool, tmp_path / "b.wav")
    assert len(pool.requests) == 2


def test_failed_audio_is_heard_again_and_another_model_hears_everything_again(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(b"not music")
    pool = HearingPool()
    pool.failures[str(tmp_path / "a.wav")] = [AudioRejectedError("nothing to hear")]
    with Journal(tmp_path / "journal", "m-1") as journal:
        assert [row.reason for row in heard(journal, pool, tmp_path / "a.wav")] == ["decode"]
        assert [row.reason for row in heard(journal, pool, tmp_path / "b.wav")] == [""]
    with Journal(tmp_path / "journal", "m-2") as journal:
        heard(journal, pool, tmp_path / "b.wav")
    assert len(pool.requests) == 3


def test_run_ends_when_processes_cannot_be_started(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"music")
    pool = HearingPool()
    pool.failures[str(tmp_path / "a.wav")] = [FatalError("no more processes")]
    with Journal(tmp_path / "journal", "m-1") as journal, pytest.raises(ExceptionGroup):
        heard(journal, pool, tmp_path / "a.wav")


def test_stamp_and_fingerprint_of_what_is_no_file_are_empty(tmp_path: Path) -> None:
    for path in ("http://host/a.mp3", str(tmp_path / "missing"), str(tmp_path)):
        assert fingerprint(path) == ""
    assert stamp("s3://bucket/a.mp3") == stamp(str(tmp_path / "missing")) == audio_digest(str(tmp_path)) == ""
