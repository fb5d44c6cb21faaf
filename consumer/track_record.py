"""A track's judgement in two forms: packed for the table, and as the JSON that every EmotionEvent of it carries.

A packed record is the judgement without its JSON: numbers as millionths in a few dozen bytes, and one index for
everything that takes few values (emotion, prediction set, decisions, versions). The JSON rendered from it is, byte for
byte, the same in both lanes: what a replay gives equals what was given before.
"""

import struct
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from consumer.events import (
    Affect,
    DecisionLabel,
    Decisions,
    EmotionLabel,
    Fragment,
    Probabilities,
    Probability,
    Sha256,
)
from model.emotions import EMOTIONS

_MILLION: Final = 1_000_000
# probabilities (4), confidence, valence, arousal, SHA-256, shape; then (start in ms, confidence, emotion) per fragment
_HEAD: Final = struct.Struct("<5I2i32sI")
_FRAGMENT: Final = struct.Struct("<IIB")


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """What takes few values in a judgement; one object shared by all records that agree in it.

    Compared by identity: a batch counts its answers by shape, and hashing eight strings would cost more than the rest.

    Parameters
    ----------
    emotion : str
        The label.
    prediction_set : tuple of str
        Labels, most probable first.
    playlist, therapy, catalogue : str
        The decisions.
    model_version, feature_version : str
        Who judged.
    is_corrected : bool
        A person's word: no model replaces it.
    """

    emotion: EmotionLabel
    prediction_set: tuple[EmotionLabel, ...]
    playlist: DecisionLabel
    therapy: DecisionLabel
    catalogue: DecisionLabel
    model_version: str
    feature_version: str
    is_corrected: bool

    def to_json(self) -> bytes:
        """Render the members that depend on the shape alone, without braces."""
        members = {
            "emotion": self.emotion,
            "prediction_set": self.prediction_set,
            "decisions": {"playlist": self.playlist, "therapy": self.therapy, "catalogue": self.catalogue},
            "model_version": self.model_version,
            "feature_version": self.feature_version,
        }
        return msgspec.json.encode(members)[1:-1]


# All that an answer, or a forwarded event, carries of a record without a length of its own. A record beyond this is not
# ours, and one near Kafka's limit would make an answer that Kafka refuses, at every play.
Name = Annotated[str, Meta(max_length=256)]
_MAX_FRAGMENTS: Final = 4096


class _Record(Struct, frozen=True):
    """What the table reads of a TrackEmotion; the rest is not checked again."""

    emotion: EmotionLabel
    confidence: Probability
    probabilities: Probabilities
    prediction_set: Annotated[tuple[EmotionLabel, ...], Meta(max_length=len(EMOTIONS))]
    valence: Affect
    arousal: Affect
    decisions: Decisions
    fragments: Annotated[list[Fragment], Meta(max_length=_MAX_FRAGMENTS)]
    model_version: Name
    feature_version: Name
    audio_sha256: Sha256
    corrected_by: Name | None = None


@dataclass(frozen=True, slots=True, eq=False)
class KnownTrack:
    """A track's judgement, ready for an EmotionEvent.

    Parameters
    ----------
    shape : Shape
        What metrics and the model check look at.
    judgement_json : bytes
        The judgement's members of the EmotionEvent, without braces.
    """

    shape: Shape
    judgement_json: bytes


class RecordCodec:
    """Pack and render judgements.

    Holds the shapes seen: one codec's packed records mean nothing to another. One thread packs; any may render what
    was packed.
    """

    def __init__(self) -> None:
        self._shapes: list[Shape] = []
        self._shape_json: list[bytes] = []
        self._shape_index: dict[tuple[object, ...], int] = {}
        self._decode = msgspec.json.Decoder(_Record).decode
        self._emotion_index = {emotion.value: index for index, emotion in enumerate(EMOTIONS)}

    def pack(self, value: bytes) -> bytes:
        """Pack a TrackEmotion.

        Parameters
        ----------
        value : bytes
            Value of a message of ``track-emotions``.

        Returns
        -------
        bytes
            68 bytes and 9 for each fragment. Numbers are rounded to millionths, starts to milliseconds.

        Raises
        ------
        ValueError
            If the bytes are no TrackEmotion.
        """
        try:
            return self._pack(self._decode(value))
        except (RecursionError, OverflowError, struct.error) as error:
            raise ValueError(f"expected a TrackEmotion: {error}") from error

    def shape(self, packed: bytes) -> Shape:
        """Give the shape of a packed record.

        Parameters
        ----------
        packed : bytes
            From this codec's ``pack``.

        Returns
        -------
        Shape
            The one all records share that agree with it.
        """
        return self._shapes[int.from_bytes(packed[_HEAD.size - 4 : _HEAD.size], "little")]

    def render(self, packed: bytes) -> KnownTrack:
        """Render what an EmotionEvent needs.

        Parameters
        ----------
        packed : bytes
            From this codec's ``pack``.

        Returns
        -------
        KnownTrack
            The shape, and the judgement's JSON.
        """
        relax, happy, sad, angry, confidence, valence, arousal, sha256, index = _HEAD.unpack_from(packed)
        # Millionths divided by a million print as the decimals they came from: repr is the shortest that reads back.
        fragments = ",".join(
            [
                f'{{"start_seconds":{start / 1000},"emotion":"{EMOTIONS[emotion]}","confidence":{part / _MILLION}}}'
                for start, part, emotion in _FRAGMENT.iter_unpack(packed[_HEAD.size :])
            ]
        )
        numbers = (
            f',"confidence":{confidence / _MILLION},"probabilities":{{"relax":{relax / _MILLION},'
            f'"happy":{happy / _MILLION},"sad":{sad / _MILLION},"angry":{angry / _MILLION}}},'
            f'"valence":{valence / _MILLION},"arousal":{arousal / _MILLION},"audio_sha256":"{sha256.hex()}",'
            f'"fragments":[{fragments}]'
        )
        return KnownTrack(self._shapes[index], self._shape_json[index] + numbers.encode())

    def _pack(self, record: _Record) -> bytes:
        decisions, probabilities = record.decisions, record.probabilities
        agreed = (
            record.emotion,
            record.prediction_set,
            decisions.playlist,
            decisions.therapy,
            decisions.catalogue,
            record.model_version,
            record.feature_version,
            record.corrected_by is not None,
        )
        index = self._shape_index.get(agreed)
        if index is None:
            index = self._shape_index[agreed] = len(self._shapes)
            shape = Shape(*agreed)
            self._shapes.append(shape)
            self._shape_json.append(shape.to_json())
        sha256 = bytes.fromhex(record.audio_sha256)
        if len(sha256) != 32:
            raise ValueError(f"expected a SHA-256, got {len(sha256)} bytes")
        head = _HEAD.pack(
            round(probabilities.relax * _MILLION),
            round(probabilities.happy * _MILLION),
            round(probabilities.sad * _MILLION),
            round(probabilities.angry * _MILLION),
            round(record.confidence * _MILLION),
            round(record.valence * _MILLION),
            round(record.arousal * _MILLION),
            sha256,
            index,
        )
        emotion_index = self._emotion_index
        return head + b"".join(
            [
                _FRAGMENT.pack(
                    round(fragment.start_seconds * 1000),
                    round(fragment.confidence * _MILLION),
                    emotion_index[fragment.emotion],
                )
                for fragment in record.fragments
            ]
        )
