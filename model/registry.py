"""The registry: which artifact is champion, which is challenger, and which came before.

A registry is a directory. ``registry.json`` points from names to artifact directories beside it and is replaced
atomically, so that a worker which polls it sees the old champion or the new one, never something between. Without a
pointer file a name is the directory of that name: so is the champion that ships with the package found. Artifacts are
never changed in place and never deleted, so that a rollback is one pointer away.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, get_args

import msgspec
from msgspec import Struct

from model.artifact import (
    ESTIMATOR_FILE,
    MANIFEST_FILE,
    load_artifact,
    read_manifest,
    read_private,
    refuse_writable_by_others,
    write_private,
)
from model.errors import ArtifactDigestError, ArtifactError, ArtifactMissingError, RegistryError
from model.judge import Judge
from model.manifest import Manifest

Name = Literal["champion", "challenger"]
NAMES: Final[tuple[Name, ...]] = get_args(Name)
POINTER_FILE: Final = "registry.json"
SHIPPED_ROOT: Final = Path(__file__).with_name("artifacts")


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """An artifact in a registry.

    Parameters
    ----------
    version : str
        The manifest's.
    directory : str
        Name of its directory below the root.
    """

    version: str
    directory: str


class Pointers(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of ``registry.json``; ``previous`` holds former champions, the latest last."""

    champion: Entry | None = None
    challenger: Entry | None = None
    previous: tuple[Entry, ...] = ()


class Registry:
    """Names for artifacts, in one directory.

    Parameters
    ----------
    root : path
        The directory; by default the one that ships with the package. Reading needs no write access.
    """

    def __init__(self, root: str | os.PathLike[str] = SHIPPED_ROOT) -> None:
        self.root = Path(root)

    def current(self, name: Name = "champion") -> str | None:
        """Give the version a name stands for: cheap enough to ask every second.

        Parameters
        ----------
        name : str
            ``champion`` or ``challenger``.

        Returns
        -------
        str or None
            The version, or None when there is none.

        Raises
        ------
        ArtifactError
            If what is there cannot be trusted.
        """
        entry = getattr(self.pointers(), name)
        return entry.version if entry else None

    def find(self, name: str) -> Entry:
        """Find an artifact by name or by version.

        Raises
        ------
        ArtifactMissingError
            If there is no such artifact; the message lists what there is.
        """
        pointers = self.pointers()
        named: dict[str, Entry] = {label: entry for label in NAMES if (entry := getattr(pointers, label))}
        if name in named:
            return named[name]
        for known in (*named.values(), *pointers.previous):
            if name == known.version:
                return known
        # What was added is a directory of its version's name; a name with a slash in it is not one.
        if Path(name).name == name and (entry := self._directory_entry(name)) and entry.version == name:
            return entry
        there = ", ".join(f"{label} {entry.version}" for label, entry in named.items()) or "nothing"
        raise ArtifactMissingError(f"{self.root}: expected an artifact {name!r}, found {there}")

    def load(self, name: str = "champion") -> Judge:
        """Load the artifact of a name or a version; raises what `find` and `load_artifact` raise."""
        entry = self.find(name)
        judge = load_artifact(self.root / entry.directory)
        if judge.version != entry.version:
            raise ArtifactDigestError(
                f"{self.root / entry.directory}: {POINTER_FILE} names version {entry.version}, found {judge.version}"
            )
        return judge

    def pointers(self) -> Pointers:
        """Read where every name points."""
        try:
            refuse_writable_by_others(self.root, self.root.stat().st_mode, self.root)
            text = read_private(self.root / POINTER_FILE)
        except (FileNotFoundError, ArtifactMissingError):
            return Pointers(champion=self._directory_entry("champion"), challenger=self._directory_entry("challenger"))
        try:
            return msgspec.json.decode(text, type=Pointers)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ArtifactDigestError(f"{self.root / POINTER_FILE}: not a pointer file: {error}") from error

    def manifests(self) -> Iterator[tuple[str, str, Manifest | None]]:
        """Give every artifact: what it is here, its directory, and its manifest if that can be trusted.

        Yields
        ------
        role : str
            ``champion``, ``challenger``, ``previous`` or ``kept``, in that order.
        directory : str
            Below the root.
        manifest : Manifest or None
        """
        pointers = self.pointers()
        roles = {entry.directory: "previous" for entry in pointers.previous}
        roles |= {entry.directory: name for name in NAMES if (entry := getattr(pointers, name))}
        found = {path.parent.name for path in self.root.glob(f"[!.]*/{MANIFEST_FILE}")} | set(roles)
        order = [*NAMES, "previous", "kept"]
        for directory in sorted(found, key=lambda name: (order.index(roles.get(name, "kept")), name)):
            try:
                manifest = read_manifest(self.root / directory)
            except ArtifactError:
                manifest = None
            yield roles.get(directory, "kept"), directory, manifest

    def add(self, artifact: str | os.PathLike[str], name: Name) -> Entry:
        """Copy an artifact in and point a name at it.

        Parameters
        ----------
        artifact : path
            Its directory, inside or outside this registry.
        name : str
            ``champion``: the former champion is kept as the latest ``previous``. ``challenger``: replaces the one
            there is.

        Returns
        -------
        Entry

        Raises
        ------
        RegistryError
            If the root cannot be written.
        ArtifactError
            If the artifact's manifest cannot be trusted.
        """
        with self._locked() as pointers:
            entry = self._copy(Path(artifact))
            if name == "challenger":
                changed = msgspec.structs.replace(pointers, challenger=entry)
            else:
                former = tuple(e for e in pointers.previous if e != entry)
                if pointers.champion and pointers.champion != entry:
                    former = (*former, pointers.champion)
                challenger = None if pointers.challenger == entry else pointers.challenger
                changed = Pointers(champion=entry, challenger=challenger, previous=former)
            self._point(changed)
            return entry

    def rollback(self) -> tuple[Entry, Entry]:
        """Make the latest former champion champion again; the one withdrawn becomes challenger.

        Returns
        -------
        withdrawn, restored : Entry

        Raises
        ------
        RegistryError
            If there is no former champion, or the root cannot be written.
        ArtifactError
            If the former champion can no longer be trusted; nothing is changed then.
        """
        with self._locked() as pointers:
            if not pointers.previous or pointers.champion is None:
                raise RegistryError(f"{self.root}: expected a former champion to roll back to, there is none")
            restored, withdrawn = pointers.previous[-1], pointers.champion
            load_artifact(self.root / restored.directory)
            self._point(Pointers(champion=restored, challenger=withdrawn, previous=pointers.previous[:-1]))
            return withdrawn, restored

    def _directory_entry(self, name: str) -> Entry | None:
        directory = self.root / name
        return Entry(read_manifest(directory).version, name) if (directory / MANIFEST_FILE).exists() else None

    def _copy(self, artifact: Path) -> Entry:
        version = read_manifest(artifact).version
        if artifact.resolve().parent == self.root.resolve():
            return Entry(version, artifact.name)
        target = self.root / version
        if not target.exists():
            incoming = self.root / f".incoming-{version}-{os.getpid()}"
            shutil.rmtree(incoming, ignore_errors=True)
            incoming.mkdir()
            incoming.chmod(0o755)
            for name in (ESTIMATOR_FILE, MANIFEST_FILE):
                write_private(incoming / name, (artifact / name).read_bytes())
            incoming.rename(target)
        return Entry(version, target.name)

    def _point(self, pointers: Pointers) -> None:
        text = msgspec.json.format(msgspec.json.encode(pointers), indent=2) + b"\n"
        write_private(self.root / POINTER_FILE, text)

    @contextmanager
    def _locked(self) -> Iterator[Pointers]:
        """Hold the only right to change pointers, across processes."""
        try:
            if not self.root.exists():
                self.root.mkdir(parents=True)
                self.root.chmod(0o755)
            lock = (self.root / ".lock").open("w")
        except OSError as error:
            raise RegistryError(
                f"{self.root}: expected a registry that can be written, got: {error.strerror}; "
                "name a writable one with --registry DIR or EMOTION_MODEL_DIR"
            ) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.pointers()
