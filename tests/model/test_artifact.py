import json
import os
import pickle
from pathlib import Path

import joblib
import numpy as np
import pytest

from model import load_artifact
from model.artifact import ESTIMATOR_FILE, MANIFEST_FILE, read_manifest
from model.emotions import Emotion
from model.errors import (
    ArtifactDigestError,
    ArtifactMismatchError,
    ArtifactMissingError,
    ArtifactPermissionError,
)
from tests.model.stand_in import fragment, write_artifact


@pytest.fixture
def unpickled(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Whatever reaches the unpickler: joblib's entrance is watched."""
    calls: list[object] = []
    original = joblib.load

    def load(*arguments: object, **keywords: object) -> object:
        calls.append(arguments)
        return original(*arguments, **keywords)

    monkeypatch.setattr(joblib, "load", load)
    return calls


class Detonator:
    """A pickle that leaves a file behind when somebody opens it."""

    def __init__(self, crater: Path) -> None:
        self.crater = crater

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.crater,)


def test_load_artifact_round_trip_judges(tmp_path: Path, unpickled: list[object]) -> None:
    written = write_artifact(tmp_path / "a")

    judge = load_artifact(tmp_path / "a")

    assert judge.manifest == written
    assert judge.version == written.version
    assert judge.judge(np.array([fragment(0.0, 0.0, 0.0, 1.0)]), [0.0]).emotion is Emotion.ANGRY
    assert len(unpickled) == 1


def test_load_artifact_estimator_replaced_by_a_hostile_pickle_never_unpickles_it(
    tmp_path: Path, unpickled: list[object]
) -> None:
    write_artifact(tmp_path / "a")
    hostile = pickle.dumps(Detonator(tmp_path / "crater"))
    pickle.loads(hostile)  # noqa: S301  (the test's own bytes: it does go off when opened)
    assert (tmp_path / "crater").exists()
    (tmp_path / "crater").unlink()
    (tmp_path / "a" / ESTIMATOR_FILE).write_bytes(hostile)

    with pytest.raises(ArtifactDigestError, match="has not been opened"):
        load_artifact(tmp_path / "a")

    assert not unpickled
    assert not (tmp_path / "crater").exists()


@pytest.mark.parametrize("position", [0, 30, -1])
def test_load_artifact_one_flipped_bit_never_reaches_the_unpickler(
    tmp_path: Path, unpickled: list[object], position: int
) -> None:
    write_artifact(tmp_path / "a")
    estimator = tmp_path / "a" / ESTIMATOR_FILE
    content = bytearray(estimator.read_bytes())
    content[position] ^= 1
    estimator.write_bytes(bytes(content))

    with pytest.raises(ArtifactDigestError):
        load_artifact(tmp_path / "a")

    assert not unpickled


def test_load_artifact_manifest_edited_after_training_is_refused(tmp_path: Path, unpickled: list[object]) -> None:
    write_artifact(tmp_path / "a")
    path = tmp_path / "a" / MANIFEST_FILE
    manifest = json.loads(path.read_text())
    manifest["scores"]["macro_f1"]["value"] = 0.99
    path.write_text(json.dumps(manifest))

    with pytest.raises(ArtifactDigestError, match="changed after training"):
        load_artifact(tmp_path / "a")

    assert not unpickled


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 3}', "\ud800"])
def test_load_artifact_manifest_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    write_artifact(tmp_path / "a")
    (tmp_path / "a" / MANIFEST_FILE).write_bytes(text.encode("utf-8", "surrogatepass"))

    with pytest.raises(ArtifactDigestError, match="not a manifest"):
        load_artifact(tmp_path / "a")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feature_version": "librosa-1"}, "features librosa-1"),
        ({"labels": tuple(reversed(Emotion))}, "expected labels"),
        ({"libraries": {"joblib": "1.0.0", "numpy": "2.0.0", "scikit-learn": "0.24.2"}}, "0.24"),
        ({"libraries": {}}, "none"),
    ],
)
def test_load_artifact_of_another_world_is_refused_unopened(
    tmp_path: Path, unpickled: list[object], changes: dict[str, object], message: str
) -> None:
    write_artifact(tmp_path / "a", **changes)

    with pytest.raises(ArtifactMismatchError, match=message):
        load_artifact(tmp_path / "a")

    assert not unpickled


def test_load_artifact_that_needs_newer_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_artifact(tmp_path / "a")

    def load(_: object) -> object:
        raise ImportError("cannot import name 'Expert' from 'model.inputs'")

    monkeypatch.setattr("model.artifact.joblib.load", load)
    with pytest.raises(ArtifactMismatchError, match="cannot import name 'Expert'"):
        load_artifact(tmp_path / "a")


def test_load_artifact_another_patch_release_is_accepted(tmp_path: Path) -> None:
    here = write_artifact(tmp_path / "a").libraries
    write_artifact(tmp_path / "b", libraries={name: version + ".post1" for name, version in here.items()})

    assert load_artifact(tmp_path / "b")


@pytest.mark.parametrize("name", [ESTIMATOR_FILE, MANIFEST_FILE, "."])
@pytest.mark.parametrize("mode", [0o020, 0o002])
def test_load_artifact_writable_by_others_is_refused_with_the_remedy(
    tmp_path: Path, unpickled: list[object], name: str, mode: int
) -> None:
    write_artifact(tmp_path / "a b")
    loose = tmp_path / "a b" / name
    loose.chmod(loose.stat().st_mode | mode)

    with pytest.raises(ArtifactPermissionError) as refusal:
        load_artifact(tmp_path / "a b")

    assert not unpickled
    remedy = str(refusal.value).rpartition(": ")[2]
    assert remedy == f"chmod -R go-w '{tmp_path}/a b'"
    assert os.system(remedy) == 0  # noqa: S605  (the command we tell a person to type)
    assert load_artifact(tmp_path / "a b")


def test_save_artifact_under_a_loose_umask_is_private(tmp_path: Path) -> None:
    before = os.umask(0o000)
    try:
        write_artifact(tmp_path / "a")
    finally:
        os.umask(before)

    assert load_artifact(tmp_path / "a")


@pytest.mark.parametrize("missing", [ESTIMATOR_FILE, MANIFEST_FILE])
def test_load_artifact_missing_file_says_which(tmp_path: Path, missing: str) -> None:
    write_artifact(tmp_path / "a")
    (tmp_path / "a" / missing).unlink()

    with pytest.raises(ArtifactMissingError, match=missing):
        load_artifact(tmp_path / "a")


def test_load_artifact_missing_directory_says_so(tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissingError, match="artifact directory"):
        load_artifact(tmp_path / "nowhere")


def test_save_artifact_same_content_has_the_same_version_and_other_content_another(tmp_path: Path) -> None:
    versions = [write_artifact(tmp_path / str(i), seed=seed).version for i, seed in enumerate((0, 0, 1))]

    assert versions[0] == versions[1] != versions[2]
    assert versions[0].startswith("20260102-")
    assert read_manifest(tmp_path / "0").version == versions[0]
