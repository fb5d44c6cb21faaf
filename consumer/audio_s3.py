"""Audio from S3 and stores that speak its protocol, by s3fs; credentials, region and endpoint from the environment."""

import re
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Final

from consumer.errors import (
    AnalysisTimeoutError,
    AudioLocationError,
    AudioNotFoundError,
    AudioRejectedError,
    AudioStoreUnavailableError,
    Reason,
)
from consumer.redaction import hide_url_secrets

if TYPE_CHECKING:
    from s3fs import S3FileSystem

_LOCATION: Final = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<key>[^?]+)", re.IGNORECASE)
# One request for most tracks.
_BLOCK_BYTES: Final = 8 * 1024 * 1024
_READ_BYTES: Final = 1024 * 1024
# Instead of the libraries' words, which quote the endpoint: malformed, it hides its password from who looks for one.
_MALFORMED: Final = "the S3 endpoint or another AWS setting is malformed: see AWS_ENDPOINT_URL"


def s3_chunks(uri: str, *, buckets: tuple[str, ...], max_bytes: int, seconds: float) -> Generator[bytes]:
    """Read an object piece by piece.

    Parameters
    ----------
    uri : str
        ``s3://bucket/key``; the key as it is, without escapes.
    buckets : tuple of str
        ``EMOTION_ALLOWED_BUCKETS``.
    max_bytes : int
        A larger object is refused before its first byte.
    seconds : float
        Limit on one wait for the store, and on the whole when looked at between two pieces.

    Yields
    ------
    bytes
        The object in order.

    Raises
    ------
    AudioLocationError
        If the location is malformed, or the bucket not allowed.
    AudioNotFoundError
        If there is no such object, or none for us.
    AudioRejectedError
        If it is too large.
    AudioStoreUnavailableError
        If the store does not answer, answers with a redirect, the object changes while it is read, or the endpoint in
        the environment is malformed.
    AnalysisTimeoutError
        If it is not done in time.
    """
    deadline = time.monotonic() + seconds
    location = _LOCATION.fullmatch(uri)
    if location is None:
        raise AudioLocationError("expected s3://bucket/key without a query")
    bucket = location["bucket"]
    if not {".", ".."}.isdisjoint(location["key"].split("/")):
        # What is on the way to the store (a proxy, the store itself) may resolve them, into another bucket.
        raise AudioLocationError("expected a key without the segments . and ..")
    if bucket not in buckets:
        raise AudioLocationError(f"bucket {bucket} is not among EMOTION_ALLOWED_BUCKETS", reason=Reason.FORBIDDEN_HOST)
    # Imported here: half a second that workers without S3 need not pay.
    import botocore.exceptions
    from s3fs import S3FileSystem

    from consumer.s3_session import NoRedirects

    limits = {"connect_timeout": seconds, "read_timeout": seconds, "retries": {"total_max_attempts": 2}}
    store = S3FileSystem(use_listings_cache=False, config_kwargs=limits | {"http_session_cls": NoRedirects})
    path = f"{bucket}/{location['key']}"
    try:
        _connect(store, bucket)
        size = store.info(path)["size"] or 0
        if size > max_bytes:
            raise AudioRejectedError(f"expected at most {max_bytes} bytes, got {size}", reason=Reason.TOO_LARGE)
        with store.open(path, "rb", block_size=_BLOCK_BYTES) as file:
            while chunk := file.read(_READ_BYTES):
                yield chunk
                if time.monotonic() > deadline:
                    raise AnalysisTimeoutError(f"s3://{bucket} did not deliver within the fetch timeout")
    except FileNotFoundError as error:
        raise AudioNotFoundError(f"there is no such object in s3://{bucket}") from error
    except PermissionError as error:
        raise AudioNotFoundError(f"s3://{bucket} refuses this object to the worker") from error
    except botocore.exceptions.EndpointResolutionError:
        raise AudioStoreUnavailableError(f"s3://{bucket}: {_MALFORMED}") from None
    except (OSError, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        text = hide_url_secrets(str(error))
        raise AudioStoreUnavailableError(f"s3://{bucket}: {type(error).__name__}: {text}") from error


def _connect(store: "S3FileSystem", bucket: str) -> None:
    from botocore.exceptions import BotoCoreError

    try:
        store.connect()
    except ValueError as error:
        if isinstance(error, BotoCoreError):  # such as a malformed region: that one says so
            raise
        raise AudioStoreUnavailableError(f"s3://{bucket}: {_MALFORMED}") from None
