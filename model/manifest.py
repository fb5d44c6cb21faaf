"""What an artifact says of itself: enough to trust it, refuse it, or train it again.

The version names the content: it ends in the first 16 hexadecimal digits of the SHA-256 of the manifest (encoded
canonically with an empty version), and the manifest holds the SHA-256 of every other file. Nothing in an artifact can
change without its version changing.
"""

import hashlib
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from model.emotions import Emotion
from model.policy import Policy

# A patch release may not change what a pickle holds; a minor one may (scikit-learn, model persistence).
PINNED_LIBRARIES: Final = ("joblib", "numpy", "scikit-learn")

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class DataReference(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table an artifact was trained on.

    Parameters
    ----------
    name : str
        File name, without a folder.
    sha256 : str
        Digest of the file's bytes.
    rows : int
        Rows used, after exact duplicates are removed.
    citation, licence : str
        Whose work it is and on what terms; empty for a table that is not known.
    """

    name: str
    sha256: Sha256
    rows: Annotated[int, Meta(ge=1)]
    citation: str = ""
    licence: str = ""


class Score(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A score out of fold, with its 95 % interval."""

    value: float
    low: float
    high: float


class Adaptation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The unlabelled catalogue whose statistics an artifact was adapted to."""

    name: str
    sha256: Sha256
    tracks: Annotated[int, Meta(ge=1)]


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything beside the estimator.

    Parameters
    ----------
    labels : tuple of Emotion
        In the order of the probabilities.
    feature_version : str
        The ear it was trained for.
    estimator, params : str, dict
        Import path of the class as ``module:name`` and its constructor's arguments.
    data : DataReference
        What it was trained on.
    seed : int
        ``random_state`` of training and of the evaluation's folds.
    commit : str
        Git commit of the code that trained it, with ``-dirty`` if files had changed; ``unknown`` outside a checkout.
    created_at : str
        RFC 3339, UTC.
    python, libraries : str, dict
        Versions in the training process.
    protocol, scores, calibration : str, dict, dict
        How it was evaluated, and the figures: out of fold, with 95 % intervals.
    policy : Policy
        What may be done with its answers.
    deciles : dict of str to tuple of float
        The nine inner deciles of each feature in training: the reference for drift.
    files : dict of str to str
        SHA-256 of every other file of the artifact.
    adapted_to : Adaptation, optional
        Set when it was adapted to a catalogue after training.
    version : str
        Date and content digest; see the module.
    """

    schema_version: Literal[1] = 1
    version: str = ""
    labels: tuple[Emotion, ...]
    feature_version: str
    estimator: str
    params: dict[str, Any]
    data: DataReference
    seed: int
    commit: str
    created_at: str
    python: str
    libraries: dict[str, str]
    protocol: str
    scores: dict[str, Score]
    calibration: dict[str, float]
    policy: Policy
    deciles: dict[str, tuple[float, ...]]
    files: dict[str, Sha256]
    adapted_to: Adaptation | None = None

    def named(self) -> "Manifest":
        """Give the manifest with the version that its content demands."""
        blank = msgspec.structs.replace(self, version="")
        digest = hashlib.sha256(msgspec.json.encode(blank, order="deterministic")).hexdigest()
        return msgspec.structs.replace(self, version=f"{self.created_at[:10].replace('-', '')}-{digest[:16]}")
