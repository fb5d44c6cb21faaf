"""What can be wrong with data or with an artifact.

::

    ModelError
    ├── ArtifactError               the worker must not judge with this artifact
    │   ├── ArtifactMissingError    no such artifact, or a file of it is absent
    │   ├── ArtifactDigestError     a file's SHA-256 is not the manifest's: corrupt or tampered, never unpickled
    │   ├── ArtifactMismatchError   feature version, labels or library versions differ from what is running
    │   └── ArtifactPermissionError group- or world-writable: somebody else could have changed it
    ├── RegistryError               a registry that cannot be written, or has nothing to roll back to
    └── DatasetError                a table that cannot be trained on, with row and column
"""


class ModelError(Exception):
    """Root of this room's errors; never raised itself."""


class ArtifactError(ModelError):
    """An artifact that must not be used."""


class ArtifactMissingError(ArtifactError):
    """There is no artifact here, or a file of it is absent."""


class ArtifactDigestError(ArtifactError):
    """A file's digest is not the manifest's; nothing was unpickled."""


class ArtifactMismatchError(ArtifactError):
    """The artifact was made for another feature version, label set or library version."""


class ArtifactPermissionError(ArtifactError):
    """The artifact can be changed by other users."""


class RegistryError(ModelError):
    """The registry cannot do what was asked."""


class DatasetError(ModelError):
    """A table that cannot be used, with the row and column where it failed."""
