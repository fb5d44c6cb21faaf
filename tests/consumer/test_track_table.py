"""The table keeps what an EmotionEvent needs, exactly, and in few bytes."""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.events import Decisions, Fragment, Probabilities
from consumer.track_record import RecordCodec
from consumer.track_table import TrackTable
from model.emotions import EMOTIONS
from tests.consumer.records import track_emotion_json

JUDGEMENT = (
    "emotion", "confidence", "probabilities", "prediction_set", "valence", "arousal", "decisions", "fragments",
    "model_version", "feature_version", "audio_sha256",
)  # fmt: skip

millionths = st.integers(0, 1_000_000).map(lambda number: number / 1_000_000)
signed_millionths = st.integers(-1_000_000, 1_000_000).map(lambda number: number / 1_000_000)
emotions = st.sampled_from([emotion.value for emotion in EMOTIONS])
fragments = st.builds(
    Fragment,
    start_seconds=st.integers(0, 4_000_000).map(lambda milliseconds: milliseconds / 1000),
    emotion=emotions,
    confidence=millionths,
)


def table_of(*records: bytes | None, key: bytes | None = b"t-1") -> TrackTable:
    table = TrackTable()
    table.open(0)
    for record in records:
        table.apply(0, key, record)
    return table


def judgement(table: TrackTable, track_id: str = "t-1") -> dict[str, object]:
    known = table.get(0, track_id.encode())
    assert known is not None
    decoded: dict[str, object] = json.loads(b"{%b}" % known.judgement_json)
    return decoded


@given(
    probabilities=st.builds(Probabilities, relax=millionths, happy=millionths, sad=millionths, angry=millionths),
    confidence=millionths,
    valence=signed_millionths,
    arousal=signed_millionths,
    heard=st.lists(fragments, max_size=9),
    plausible=st.lists(emotions, min_size=1, max_size=4, unique=True),
)
def test_get_gives_back_every_number_of_the_record(
    probabilities: Probabilities,
    confidence: float,
    valence: float,
    arousal: float,
    heard: list[Fragment],
    plausible: list[str],
) -> None:
    record = track_emotion_json(
        probabilities=probabilities,
        confidence=confidence,
        valence=valence,
        arousal=arousal,
        fragments=heard,
        prediction_set=plausible,
        emotion=plausible[0],
    )
    expected = json.loads(record)
    assert judgement(table_of(record)) == {name: expected[name] for name in JUDGEMENT}


def test_get_unknown_track_gives_none() -> None:
    assert table_of(track_emotion_json()).get(0, b"t-2") is None


def test_get_other_partition_gives_none() -> None:
    assert table_of(track_emotion_json()).get(1, b"t-1") is None


def test_apply_newer_record_replaces_the_older_even_when_it_was_rendered() -> None:
    table = table_of(track_emotion_json())
    assert judgement(table)["emotion"] == "sad"
    table.apply(0, b"t-1", track_emotion_json(emotion="happy"))
    assert judgement(table)["emotion"] == "happy"
    assert len(table) == 1


def test_apply_tombstone_removes_the_track() -> None:
    table = table_of(track_emotion_json(), None)
    assert table.get(0, b"t-1") is None
    assert len(table) == 0


def test_apply_partition_not_opened_is_ignored() -> None:
    table = table_of()
    assert table.apply(7, b"t-1", track_emotion_json())
    assert len(table) == 0


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"nonsense",
        b"\xff",
        b"{}",
        b'{"a":' * 100_000,
        track_emotion_json(emotion="bored"),
        track_emotion_json(audio_sha256="12"),
        track_emotion_json(audio_sha256="zz" * 32),
        track_emotion_json(confidence=-0.5),
        track_emotion_json(valence=1.5),
        track_emotion_json(arousal=1e308),
        track_emotion_json(fragments=[Fragment(start_seconds=1e308, emotion="sad", confidence=0.7)]),
        track_emotion_json(model_version="m" * 257),
        track_emotion_json(corrected_by="c" * 257),
        track_emotion_json(prediction_set=["sad"] * 5),
        track_emotion_json(fragments=[Fragment(start_seconds=0.0, emotion="sad", confidence=1.0)] * 4097),
    ],
)
def test_apply_what_is_no_record_is_refused_and_keeps_the_old_one(value: bytes) -> None:
    table = table_of(track_emotion_json())
    assert not table.apply(0, b"t-1", value)
    assert judgement(table)["emotion"] == "sad"


def test_apply_record_without_key_is_refused() -> None:
    assert not table_of().apply(0, None, track_emotion_json())


def test_drop_forgets_the_partition_only() -> None:
    table = table_of(track_emotion_json())
    table.open(1)
    table.apply(1, b"t-2", track_emotion_json("t-2"))
    table.drop(0)
    assert table.get(0, b"t-1") is None
    assert table.get(1, b"t-2") is not None


def test_corrected_record_says_so() -> None:
    known = table_of(track_emotion_json(corrected_by="curator-7")).get(0, b"t-1")
    assert known is not None
    assert known.shape.is_corrected


def test_pack_eight_fragments_leaves_room_in_the_promised_400_bytes() -> None:
    heard = [Fragment(start_seconds=30.5 * number, emotion="sad", confidence=0.5) for number in range(8)]
    packed = RecordCodec().pack(track_emotion_json(fragments=heard))
    key = b"a-track-id-of-36-characters-like-uuids"
    # A dictionary entry is at most 100 bytes when the dictionary has just grown.
    assert sys.getsizeof(packed) + sys.getsizeof(key) + 100 <= 400


def test_catalogue_counts_each_track_once_and_leaves_out_what_a_person_labelled() -> None:
    table = table_of(
        track_emotion_json(decisions=Decisions(playlist="apply", therapy="apply", catalogue="suggest")),
        track_emotion_json(decisions=Decisions(playlist="apply", therapy="apply", catalogue="apply")),
    )
    corrected = track_emotion_json("t-2", corrected_by="curator-1", model_emotion="happy")
    table.apply(0, b"t-2", corrected)
    table.open(1)
    for _ in range(2):
        table.apply(1, b"t-3", track_emotion_json("t-3"))
    table.apply(1, b"t-4", track_emotion_json("t-4"))
    assert +table.catalogue() == {"apply": 1, "suggest": 2}
    table.apply(1, b"t-4", None)
    table.apply(1, b"t-4", None)
    assert +table.catalogue() == {"apply": 1, "suggest": 1}
    table.drop(1)
    assert +table.catalogue() == {"apply": 1}
