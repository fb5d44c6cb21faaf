"""What leaves: valid by the contract, equal from both lanes, recognisable when it comes twice."""

import json
from datetime import UTC, datetime, timedelta

import msgspec

from consumer.answers import Moment, build_answer, build_track_emotion, track_emotion_headers
from consumer.dead_letter import header_bytes
from consumer.events import EmotionEvent, Fragment, decode_track_event, emotion_event_id
from consumer.track_record import KnownTrack, RecordCodec
from model.emotions import EMOTIONS, Emotion
from model.judgement import FragmentJudgement, Judgement
from tests.consumer.records import SHA, track_emotion, track_emotion_json, track_event_json

DEADLINE = timedelta(seconds=60)


def known_track() -> KnownTrack:
    codec = RecordCodec()
    return codec.render(codec.pack(track_emotion_json()))


def test_build_answer_is_a_valid_emotion_event_with_its_cloud_event() -> None:
    event = decode_track_event(track_event_json("e-1", session_id="s-1", playlist_id="p-1"))
    answer = build_answer(event, known_track(), Moment.now(DEADLINE, known=True))
    decoded = msgspec.json.decode(answer.value, type=EmotionEvent)
    assert decoded.source_event_id == "e-1"
    assert decoded.event_id == emotion_event_id("e-1", "m-1", "f-1")
    assert (decoded.session_id, decoded.listener_id, decoded.playlist_id) == ("s-1", None, "p-1")
    assert decoded.known
    assert not decoded.late
    assert "listener_id" not in json.loads(answer.value)
    headers = dict(answer.headers)
    assert headers["ce_id"] == decoded.event_id.encode()
    assert headers["ce_type"] == b"emotion-stream.emotion-event.v1"
    assert datetime.fromisoformat((headers["ce_time"] or b"").decode()) == decoded.classified_at
    assert headers["content-type"] == b"application/json"


def test_build_answer_of_the_largest_event_and_record_is_half_of_what_kafka_takes() -> None:
    # Six bytes a character in JSON, at most.
    name = "\0" * 256
    names = dict.fromkeys(("session_id", "listener_id", "playlist_id"), name)
    event = decode_track_event(track_event_json(name, name, **names))
    fragment = Fragment(start_seconds=4294967.295, emotion="angry", confidence=0.123456)
    record = track_emotion_json(
        name,
        model_version=name,
        feature_version=name,
        prediction_set=[emotion.value for emotion in EMOTIONS],
        fragments=[fragment] * 4096,
    )
    codec = RecordCodec()
    answer = build_answer(event, codec.render(codec.pack(record)), Moment.now(DEADLINE, known=True))
    # Kafka's message.max.bytes is 1,048,588 unless told otherwise; headers are ours alone, but for a trace context.
    assert len(answer.value) + header_bytes(answer.headers) < 500_000


def test_build_answer_twice_differs_in_time_and_lane_only() -> None:
    event = decode_track_event(track_event_json())
    track = known_track()
    first = json.loads(build_answer(event, track, Moment.now(DEADLINE, known=False)).value)
    again = json.loads(build_answer(event, track, Moment.now(timedelta(days=-1), known=True)).value)
    for copy in (first, again):
        for name in ("classified_at", "known", "late"):
            del copy[name]
    assert first == again


def test_build_answer_past_the_deadline_is_late() -> None:
    track = known_track()
    for age, is_late in ((59, False), (61, True)):
        event = decode_track_event(track_event_json(occurred_at=datetime.now(UTC) - timedelta(seconds=age)))
        answer = build_answer(event, track, Moment.now(DEADLINE, known=True))
        assert answer.is_late is is_late
        assert json.loads(answer.value)["late"] is is_late


def test_build_track_emotion_keeps_the_judgement() -> None:
    judgement = Judgement(
        emotion=Emotion.SAD,
        confidence=0.7,
        probabilities=dict.fromkeys(EMOTIONS, 0.1) | {Emotion.SAD: 0.7},
        prediction_set=(Emotion.SAD, Emotion.RELAX),
        valence=-0.6,
        arousal=-0.6,
        decisions={"playlist": "apply", "therapy": "withhold", "catalogue": "suggest"},
        fragments=(FragmentJudgement(12.3456, Emotion.SAD, 0.7),),
        out_of_domain=False,
    )
    at = datetime(2026, 1, 1, tzinfo=UTC)
    record = build_track_emotion(
        "t", judgement, model_version="m", feature_version="f", audio_sha256=SHA, classified_at=at
    )
    assert (record.emotion, record.confidence, record.probabilities.sad) == ("sad", 0.7, 0.7)
    assert record.prediction_set == ["sad", "relax"]
    assert record.fragments[0].start_seconds == 12.346
    assert record.decisions.therapy == "withhold"


def test_track_emotion_headers_same_judgement_same_id() -> None:
    ids = [
        dict(track_emotion_headers(record))["ce_id"]
        for record in (
            track_emotion(),
            track_emotion(classified_at=datetime(2027, 1, 1, tzinfo=UTC)),
            track_emotion(model_version="m-2"),
            track_emotion("t-2"),
        )
    ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
