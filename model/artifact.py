"""The artifact: a directory with an estimator and its manifest, refused before it can do harm.

Unpickling runs whatever code the pickle names (scikit-learn, Model persistence, Security). So, in this order: nobody
but its owner could have written it; the manifest is the one its version names; the estimator's bytes have the digest
that the manifest states; labels, feature version and library versions are those that run here. Only then are those
same bytes, read once, unpickled.
"""

import hashlib
import io
import os
import shlex
import stat
from collections.abc import Mapping
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Final

import joblib
import msgspec

from features.schema import FEATURE_VERSION
from model.emotions import EMOTIONS
from model.errors import (
    ArtifactDigestError,
    ArtifactMismatchError,
    ArtifactMissingError,
    ArtifactPermissionError,
)
from model.judge import Classifier, Judge
from model.manifest import PINNED_LIBRARIES, Manifest

ESTIMATOR_FILE: Final = "estimator.joblib"
MANIFEST_FILE: Final = "manifest.json"


def load_artifact(path: str | os.PathLike[str]) -> Judge:
    """Load an artifact that has passed every check.

    Parameters
    ----------
    path : path
        The artifact's directory.

    Returns
    -------
    Judge
        Ready to judge.

    Raises
    ------
    ArtifactMissingError
        If the directory or a file of it is absent.
    ArtifactPermissionError
        If group or others could write it; the message has the command that mends it.
    ArtifactDigestError
        If the manifest or the estimator is not what it claims to be; nothing was unpickled.
    ArtifactMismatchError
        If labels, feature version or library versions differ from those that run here; nothing was unpickled.
    """
    directory = Path(path)
    manifest = read_manifest(directory)
    pickled = read_private(directory / ESTIMATOR_FILE)
    digest = hashlib.sha256(pickled).hexdigest()
    if digest != manifest.files.get(ESTIMATOR_FILE):
        raise ArtifactDigestError(
            f"{directory / ESTIMATOR_FILE}: expected SHA-256 {manifest.files.get(ESTIMATOR_FILE)}, got {digest}; "
            "the file is corrupt or was tampered with and has not been opened"
        )
    _check_compatible(directory, manifest)
    try:
        classifier = joblib.load(io.BytesIO(pickled))
    except Exception as error:
        # The bytes are the manifest's own, so it is our code that differs: whatever unpickling raises says that.
        raise ArtifactMismatchError(
            f"{directory / ESTIMATOR_FILE}: expected an estimator of this version of the code, got one that does not "
            f"load: {type(error).__name__}: {error}"
        ) from error
    return Judge(classifier, manifest)


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read and verify a manifest without touching the estimator.

    Parameters
    ----------
    path : path
        The artifact's directory.

    Returns
    -------
    Manifest

    Raises
    ------
    ArtifactMissingError, ArtifactPermissionError
        As `load_artifact`.
    ArtifactDigestError
        If it is not JSON of the expected form, or its content is not what its version names.
    """
    directory = Path(path)
    if not directory.is_dir():
        raise ArtifactMissingError(f"{directory}: expected an artifact directory, found none")
    refuse_writable_by_others(directory, directory.stat().st_mode, directory)
    text = read_private(directory / MANIFEST_FILE)
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArtifactDigestError(f"{directory / MANIFEST_FILE}: not a manifest: {error}") from error
    expected = manifest.named().version
    if manifest.version != expected:
        raise ArtifactDigestError(
            f"{directory / MANIFEST_FILE}: its content names version {expected}, it claims {manifest.version!r}; "
            "the manifest was changed after training"
        )
    return manifest


def save_artifact(path: str | os.PathLike[str], classifier: Classifier, manifest: Manifest) -> Manifest:
    """Write an artifact; its own digests and version are filled in.

    Parameters
    ----------
    path : path
        The directory; made when absent, its files replaced when present.
    classifier : Classifier
        The fitted estimator.
    manifest : Manifest
        Everything else; ``files`` and ``version`` are ignored.

    Returns
    -------
    Manifest
        As written.
    """
    directory = Path(path)
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    buffer = io.BytesIO()
    joblib.dump(classifier, buffer, compress=("zlib", 6))
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    manifest = msgspec.structs.replace(manifest, files={ESTIMATOR_FILE: digest}).named()
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
    for name, content in ((ESTIMATOR_FILE, buffer.getvalue()), (MANIFEST_FILE, text)):
        write_private(directory / name, content)
    return manifest


def write_private(path: Path, content: bytes) -> None:
    """Replace a file atomically and durably, writable by its owner alone.

    Parameters
    ----------
    path : Path
        A reader sees the old file or the new one, never a part.
    content : bytes
        What it shall hold.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def installed_libraries() -> dict[str, str]:
    """Give the versions of the libraries that a pickle depends on."""
    return {name: installed_version(name) for name in PINNED_LIBRARIES}


def read_private(path: Path) -> bytes:
    """Read a file that only its owner can have written.

    Raises
    ------
    ArtifactMissingError
        If it is absent.
    ArtifactPermissionError
        If group or others could write it.
    """
    try:
        with path.open("rb") as file:
            # The open file is asked, not the path: what is checked is what is read.
            refuse_writable_by_others(path, os.fstat(file.fileno()).st_mode, path.parent)
            return file.read()
    except FileNotFoundError as error:
        raise ArtifactMissingError(f"{path}: expected a file of the artifact, found none") from error


def refuse_writable_by_others(path: Path, mode: int, directory: Path) -> None:
    """Raise `ArtifactPermissionError` if ``mode`` lets group or others write ``path``.

    Parameters
    ----------
    path : Path
        The file or directory in question, for the message.
    mode : int
        Its ``st_mode``.
    directory : Path
        What the remedy in the message is applied to.
    """
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ArtifactPermissionError(
            f"{path}: mode {stat.S_IMODE(mode):o} lets other users change it; "
            f"expected it to be writable by its owner alone: chmod -R go-w {shlex.quote(str(directory))}"
        )


def _check_compatible(directory: Path, manifest: Manifest) -> None:
    if manifest.labels != EMOTIONS:
        raise ArtifactMismatchError(f"{directory}: expected labels {list(EMOTIONS)}, got {list(manifest.labels)}")
    if manifest.feature_version != FEATURE_VERSION:
        raise ArtifactMismatchError(
            f"{directory}: trained for features {manifest.feature_version}, this is {FEATURE_VERSION}; train it again"
        )
    here, there = _minor_versions(installed_libraries()), _minor_versions(manifest.libraries)
    if here != there:
        raise ArtifactMismatchError(f"{directory}: trained with {there}, this is {here}; train it again")


def _minor_versions(libraries: Mapping[str, str]) -> dict[str, str]:
    return {name: ".".join(libraries.get(name, "none").split(".")[:2]) for name in PINNED_LIBRARIES}
