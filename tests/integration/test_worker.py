"""The worker on real Kafka: consume, produce, commit, stop, resume; two workers share the load."""

import asyncio
import hashlib
from typing import Any

import aiokafka
import pytest
from aiokafka.producer import message_accumulator
from aiokafka.producer import producer as aiokafka_producer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from consumer.topics import TRACK_ANALYSIS
from tests.consumer.hostile import HeaderName
from tests.integration.administration import set_topic_config
from tests.integration.auditor import Auditor
from tests.integration.conftest import Record, WorkerFactory
from tests.integration.ledger import Emotion, Verdict
from tests.integration.traffic import Platform, tracks

pytestmark = [pytest.mark.kafka, pytest.mark.ledger]

# What an answer says of the play or upload; all else is the judgement of its track.
OF_THE_EVENT = frozenset(
    {
        "event_id", "source_event_id", "event_type", "occurred_at", "classified_at", "known", "late",
        "session_id", "listener_id", "playlist_id",
    }
)  # fmt: skip


def test_two_workers_share_a_thousand_events_and_resume_after_a_restart(
    bootstrap: str,
    platform: Platform,
    auditor: Auditor,
    new_worker: WorkerFactory,
    record: Record,
) -> None:
    catalogue = tracks(platform, 12)
    first, second = new_worker(bootstrap, "first"), new_worker(bootstrap, "second")
    first.start(wait=False)
    second.start()
    first.wait_ready()
    platform.mix(catalogue, 500, poison_share=0.05)
    platform.flush()
    assert auditor.follow(platform.entries, 60, until_missing=0) == 0
    # Both took part: the range assignor gives each its share of the partitions.
    for worker in (first, second):
        assert worker.metric("emotion_partitions_assigned", {"lane": "known"}) == 2
        assert worker.metric("emotion_events_consumed_total", {"lane": "known"}) > 0

    # Down while events arrive: they wait in Kafka, and nobody answers them twice.
    assert first.terminate()[0] == 0
    assert second.terminate()[0] == 0
    platform.mix([*catalogue, platform.track(12)], 500, poison_share=0.05)
    platform.flush()
    first.start(wait=False)
    second.start()
    first.wait_ready()
    verdict: Verdict = auditor.settle(platform.entries, 60)
    record(verdict)
    assert verdict.inputs == 1000
    assert verdict.balanced, verdict.line()
    assert verdict.duplicated == 0, verdict.line()


def test_burst_of_plays_of_one_new_track_is_one_analysis(
    bootstrap: str, platform: Platform, auditor: Auditor, new_worker: WorkerFactory, record: Record
) -> None:
    worker = new_worker(bootstrap).start()
    before = worker.metric("emotion_analyses_started_total")
    track = platform.track(0)
    for _ in range(1000):
        platform.play(track)
    platform.flush()
    verdict = auditor.settle(platform.entries, 60)
    analyses = worker.metric("emotion_analyses_started_total") - before
    record(verdict, f"{analyses:.0f} analysis")
    assert verdict.balanced and verdict.emotions == 1000, verdict.line()
    assert verdict.duplicated == 0, verdict.line()
    assert analyses == 1


def test_upload_followed_at_once_by_plays_answers_each_alike(
    bootstrap: str, platform: Platform, auditor: Auditor, new_worker: WorkerFactory, record: Record
) -> None:
    worker = new_worker(bootstrap).start()
    before = worker.metric("emotion_analyses_started_total")
    track = platform.track(0, seconds=70.0)
    platform.upload(track)
    for _ in range(20):
        platform.play(track)
    platform.flush()
    verdict = auditor.settle(platform.entries, 60)
    record(verdict)
    assert verdict.balanced and verdict.emotions == 21, verdict.line()
    assert verdict.duplicated == 0, verdict.line()
    assert worker.metric("emotion_analyses_started_total") - before == 1
    upload, *plays = sorted(auditor.emotions, key=lambda emotion: str(emotion.payload["occurred_at"]))
    assert upload.payload["event_type"] == "track_uploaded"
    assert upload.payload["audio_sha256"] == hashlib.sha256((platform.folder / f"{track}.wav").read_bytes()).hexdigest()
    for play in plays:
        assert judgement(play) == judgement(upload)


def test_new_lane_reads_whatever_codec_its_topic_asks_for(
    bootstrap: str, platform: Platform, auditor: Auditor, new_worker: WorkerFactory, record: Record
) -> None:
    new_worker(bootstrap).start()
    for number, codec in enumerate(("gzip", "lz4", "snappy", "zstd")):
        # The broker compresses anew what comes otherwise: the known lane's choice is not what is read.
        set_topic_config(bootstrap, TRACK_ANALYSIS.name, "compression.type", codec)
        platform.play(platform.track(number))
        platform.flush()
        assert auditor.wait(platform.entries, 30).balanced, codec
    verdict = auditor.settle(platform.entries, 60)
    record(verdict)
    assert verdict.balanced and verdict.emotions == 4, verdict.line()


def test_header_name_that_is_no_utf8_written_to_the_new_lane_stops_nobody(
    bootstrap: str,
    platform: Platform,
    auditor: Auditor,
    new_worker: WorkerFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = new_worker(bootstrap).start()
    # The known lane forwards no such event; whoever else may write to the topic is asked by nobody.
    for module in (message_accumulator, aiokafka_producer):
        monkeypatch.setattr(module, "DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)
    written = asyncio.run(write_everywhere(bootstrap, TRACK_ANALYSIS.name, b"no event", HeaderName(b"\xff")))
    for number in range(8):
        platform.play(platform.track(number))
    platform.flush()
    verdict = auditor.settle(platform.entries, 60)
    # The ledger knows of no input for those four letters, and calls each wrong.
    assert (verdict.emotions, len(verdict.lost), len(verdict.wrong)) == (8, 0, written), verdict.line()
    assert {letter.reason for letter in auditor.dead_letters} == {"invalid_json"}
    assert worker.running


async def write_everywhere(bootstrap: str, topic: str, value: bytes, name: str) -> int:
    """Write a message with a header of that name to every partition of a topic; give their number."""
    async with aiokafka.AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        partitions = await producer.partitions_for(topic)
        for partition in partitions:
            await producer.send_and_wait(topic, value, partition=partition, headers=[(name, b"1")])
    return len(partitions)


def judgement(emotion: Emotion) -> dict[str, Any]:
    """Give everything an answer says of its track."""
    return {name: value for name, value in emotion.payload.items() if name not in OF_THE_EVENT}
