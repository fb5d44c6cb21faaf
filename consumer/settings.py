"""The worker's settings: one frozen object, read once from the environment, passed down.

Every field is the environment variable ``EMOTION_<FIELD>`` in upper case. An empty variable means "not set"; lists are
comma-separated; numbers carry their unit in the name. Defaults are safe on a laptop: no audio location is allowed
until it is named, and metrics are served on the loopback only.
"""

import contextlib
import ctypes
import difflib
import logging
import math
import os
import typing
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import msgspec
from msgspec import UNSET, Meta, Struct, field

from consumer.errors import ConfigurationError
from consumer.redaction import hide_url_secrets

PREFIX: Final = "EMOTION_"
# Read by the tests, not by the worker: no reason to warn about them.
_FOREIGN_PREFIX: Final = "EMOTION_TEST_"
MASK: Final = "********"

# linux/prctl.h
_PR_SET_DUMPABLE: Final = 4

Lane = Literal["known", "new"]
_HOST = r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
Host = Annotated[str, Meta(pattern=f"^{_HOST}$")]
HostRule = Annotated[str, Meta(pattern=rf"^(\*\.)?{_HOST}$|^\*(:[0-9]{{1,5}})?$")]
Port = Annotated[int, Meta(ge=0, le=65535)]

logger = logging.getLogger(__name__)


def available_cores() -> int:
    """Count the cores this process may use (cgroup quotas are not cores; set ``pool_size`` under one)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _doc(text: str, **extra: object) -> Meta:
    return Meta(description=text, extra=extra)


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that can be configured.

    Raises
    ------
    ConfigurationError
        If settings contradict each other.
    """

    kafka_bootstrap_servers: Annotated[str, _doc("Kafka brokers to start from, `host:port`, comma-separated.")] = (
        "localhost:9092"
    )
    security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], _doc("How to talk to the brokers.")
    ] = "PLAINTEXT"
    sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], _doc("SASL mechanism, under a `SASL_*` protocol.")
    ] = "SCRAM-SHA-512"
    sasl_username: Annotated[str | None, _doc("SASL user name.")] = None
    sasl_password: Annotated[str | None, _doc("SASL password.", secret=True)] = None
    ssl_ca_location: Annotated[Path | None, _doc("PEM file of the brokers' authority; the system's when unset.")] = None
    ssl_certificate_location: Annotated[Path | None, _doc("PEM file of the client's certificate.")] = None
    ssl_key_location: Annotated[Path | None, _doc("PEM file of the client's private key.")] = None
    ssl_key_password: Annotated[str | None, _doc("Password of the private key.", secret=True)] = None

    app_id: Annotated[str, Meta(min_length=1), _doc("Root of the consumer groups and the Faust application's id.")] = (
        "emotion-stream"
    )
    lanes: Annotated[tuple[Lane, ...], Meta(min_length=1), _doc("Lanes this worker runs.")] = ("known", "new")
    topic_partition_count: Annotated[
        int, Meta(ge=1), _doc("Partitions of every topic: the most workers that help.")
    ] = 12
    topic_replication_factor: Annotated[int, Meta(ge=1), _doc("Replicas of every topic; 3 in production.")] = 1
    session_timeout_seconds: Annotated[
        float, Meta(ge=6.0), _doc("Silence after which Kafka gives this worker's partitions to another.")
    ] = 45.0
    known_batch_events: Annotated[int, Meta(ge=1), _doc("Most events the known lane produces before it commits.")] = (
        20000
    )
    poll_timeout_seconds: Annotated[
        float, Meta(gt=0), _doc("Longest wait of the idle known lane before it looks around.")
    ] = 0.2
    transactions: Annotated[bool, _doc("Produce and commit the known lane's batches in Kafka transactions.")] = False

    model_dir: Annotated[Path | None, _doc("Folder of model artifacts; the packaged one when unset.")] = None
    shadow: Annotated[bool, _doc("Also ask the `challenger` model and count where it disagrees.")] = False
    pool_size: Annotated[int, Meta(ge=1), _doc("Analysis processes.", default="available cores")] = field(
        default_factory=available_cores
    )
    analysis_memory_bytes: Annotated[
        int,
        Meta(ge=256 * 1024 * 1024),
        _doc("What an analysis process may take beyond its 350 MB; audio that needs more is refused as `decode`."),
    ] = 1024 * 1024 * 1024
    max_in_flight: Annotated[int, Meta(ge=1), _doc("Events the new lane holds before it pauses its partitions.")] = 256
    max_reanalyses_per_second: Annotated[
        float, Meta(ge=0), _doc("Known tracks sent for re-analysis after a model change; 0 for none.")
    ] = 5.0
    fragments_per_upload: Annotated[int, Meta(ge=1, le=64), _doc("Most 30-second fragments heard of an upload.")] = 8

    deadline_seconds: Annotated[
        float, Meta(gt=0), _doc("`occurred_at` to `classified_at`; later answers are `late`.")
    ] = 60.0
    analysis_timeout_seconds: Annotated[
        float, Meta(gt=0), _doc("Fetch, decode, extract and predict of one track; its process is killed after.")
    ] = 15.0
    fetch_timeout_seconds: Annotated[float, Meta(gt=0), _doc("The whole download of one track.")] = 10.0
    max_attempts: Annotated[int, Meta(ge=1), _doc("Attempts at a track before its event is dead-lettered.")] = 3
    retry_backoff_seconds: Annotated[float, Meta(ge=0), _doc("Wait before the second attempt; doubles each time.")] = (
        0.5
    )
    shutdown_timeout_seconds: Annotated[float, Meta(gt=0), _doc("Longest drain after SIGTERM.")] = 8.0
    stall_timeout_seconds: Annotated[
        float, Meta(gt=0), _doc("A loop that has not turned for so long fails `/live`.")
    ] = 60.0
    dead_letter_limit: Annotated[
        int, Meta(ge=0), _doc("Dead letters in a minute that stop the worker; 0 for never.")
    ] = 0

    audio_roots: Annotated[tuple[Path, ...], _doc("Folders below which `file://` and plain paths may be read.")] = ()
    allowed_hosts: Annotated[
        tuple[HostRule, ...],
        _doc(
            "Hosts audio may come from: `host`, `host:port`, `*.domain`, or `*` for any public host.",
            expected="host, host:port, *.domain or *",
        ),
    ] = ()
    allowed_private_hosts: Annotated[
        tuple[Host, ...],
        _doc(
            "Hosts audio may come from although their address is private: `host` or `host:port`.",
            expected="host or host:port",
        ),
    ] = ()
    allowed_buckets: Annotated[tuple[str, ...], _doc("S3 buckets audio may come from.")] = ()
    max_audio_bytes: Annotated[
        int, Meta(ge=1), _doc("Largest audio file; downloads need `EMOTION_POOL_SIZE` times this of temporary space.")
    ] = 256 * 1024 * 1024
    max_track_seconds: Annotated[float, Meta(gt=0), _doc("Longest track.")] = 3600.0
    max_event_bytes: Annotated[int, Meta(ge=1), _doc("Largest event; of a new track, with its headers.")] = 65536

    metrics_host: Annotated[
        str, _doc("Address of `/metrics`, `/live` and `/ready`; containers and Kubernetes need `0.0.0.0`.")
    ] = "127.0.0.1"
    metrics_port: Annotated[Port, _doc("Port of `/metrics`, `/live` and `/ready`; 0 for any free one.")] = 8000
    tracing: Annotated[
        bool, _doc("Send OpenTelemetry spans, where the `OTEL_*` variables say; needs the extra `tracing`.")
    ] = False
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], _doc("Least severe log line written.")] = "INFO"
    log_format: Annotated[Literal["json", "console"], _doc("JSON lines for machines, columns for people.")] = "json"

    def __post_init__(self) -> None:
        if self.security_protocol.startswith("SASL_") and not (self.sasl_username and self.sasl_password):
            raise ConfigurationError(
                f"EMOTION_SECURITY_PROTOCOL={self.security_protocol} expects EMOTION_SASL_USERNAME and "
                "EMOTION_SASL_PASSWORD"
            )
        if bool(self.ssl_certificate_location) != bool(self.ssl_key_location):
            raise ConfigurationError("EMOTION_SSL_CERTIFICATE_LOCATION and EMOTION_SSL_KEY_LOCATION go together")
        if not self.fetch_timeout_seconds <= self.analysis_timeout_seconds <= self.deadline_seconds:
            raise ConfigurationError(
                "expected EMOTION_FETCH_TIMEOUT_SECONDS <= EMOTION_ANALYSIS_TIMEOUT_SECONDS <= "
                f"EMOTION_DEADLINE_SECONDS, got {self.fetch_timeout_seconds:g}, {self.analysis_timeout_seconds:g} and "
                f"{self.deadline_seconds:g}"
            )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Read every setting from environment variables.

        Parameters
        ----------
        environ : Mapping of str to str
            Usually ``os.environ``.

        Returns
        -------
        Settings
            Defaults where a variable is absent or empty.

        Raises
        ------
        ConfigurationError
            Naming every variable that does not parse, with what was expected.
        """
        values, problems = {}, []
        for row in setting_rows():
            text = environ.get(row.variable, "").strip()
            if not text:
                continue
            try:
                values[row.field] = _parse(text, row.type)
            except msgspec.ValidationError as error:
                shown = MASK if row.secret else repr(hide_url_secrets(text))
                expected = row.expected or str(error)
                problems.append(f"{row.variable}: expected {expected.removeprefix('Expected ')}; came {shown}")
        if problems:
            raise ConfigurationError("\n".join(problems))
        return cls(**values)

    @property
    def known_group_id(self) -> str:
        """Consumer group of the known lane."""
        return f"{self.app_id}-known"

    @property
    def topic_min_insync_replicas(self) -> int:
        """Replicas that must have a record before it counts: one may be down where there are three."""
        return max(1, self.topic_replication_factor - 1)

    def masked(self) -> dict[str, Any]:
        """Give every setting by name, ready for a log line, secrets masked."""
        shown = {}
        for row in setting_rows():
            value = getattr(self, row.field)
            shown[row.field] = MASK if row.secret and value is not None else msgspec.to_builtins(value, enc_hook=str)
        return shown

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.masked().items())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return list(self.masked().items())


class SettingRow(Struct, frozen=True):
    """One setting as a reader of the README sees it.

    Parameters
    ----------
    field, variable : str
        Attribute of ``Settings`` and its environment variable.
    type : object
        Annotated type, as declared.
    default : str
        The default as one would write it into the environment; empty for none.
    meaning : str
        One line.
    choices : tuple of str
        The allowed values of a closed set, else empty.
    expected : str
        What a refused value is told; empty where the parser says it better.
    secret : bool
        Whether the value must not be shown.
    """

    field: str
    variable: str
    type: Any
    default: str
    meaning: str
    choices: tuple[str, ...]
    expected: str
    secret: bool


def setting_rows() -> Iterator[SettingRow]:
    """List every setting in the order of the class.

    Yields
    ------
    SettingRow
        One per field.
    """
    for info in msgspec.structs.fields(Settings):
        annotated = typing.get_type_hints(Settings, include_extras=True)[info.name]
        metas = [meta for meta in typing.get_args(annotated)[1:] if isinstance(meta, Meta)]
        meaning = next(meta.description for meta in metas if meta.description)
        extra = next((meta.extra for meta in metas if meta.extra), {})
        default = (
            extra.get("default", "") if info.default is UNSET or info.default is msgspec.NODEFAULT else info.default
        )
        choices = _choices(typing.get_args(annotated)[0])
        yield SettingRow(
            field=info.name,
            variable=PREFIX + info.name.upper(),
            type=annotated,
            default=_shown(default),
            meaning=meaning,
            choices=choices,
            expected=extra.get("expected", f"one of {', '.join(choices)}" if choices else ""),
            secret=bool(extra.get("secret")),
        )


def withhold_secrets(environ: MutableMapping[str, str]) -> None:
    """Take every secret out of the environment, so that processes started from here on do not inherit it.

    Call it once the settings are read and before any thread runs: the environment is the C library's too, which locks
    nothing.

    Parameters
    ----------
    environ : MutableMapping of str to str
        Usually ``os.environ``.
    """
    for row in setting_rows():
        if row.secret:
            environ.pop(row.variable, None)


def withhold_memory() -> None:
    """Keep other processes of the same user out of this one's memory, open files and first environment.

    Debuggers too, and no core dump is written; root may still look. It holds for this process alone, and not for the
    programs it starts, as a pool's are.
    """
    # What is taken out of the environment stays where the kernel put it, and whatever runs in a decoder would read it
    # in /proc/<parent>/environ. Elsewhere than on Linux there is neither.
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def settings_table() -> str:
    """Write the README's table of settings.

    Returns
    -------
    str
        Markdown, one row per setting; ``tests/consumer/test_settings.py`` holds the README to it.
    """
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for row in setting_rows():
        choices = f" One of {', '.join(f'`{choice}`' for choice in row.choices)}." if row.choices else ""
        default = row.default if " " in row.default or not row.default else f"`{row.default}`"
        lines.append(f"| `{row.variable}` | {default} | {row.meaning}{choices} |")
    return "\n".join(lines) + "\n"


def log_settings(settings: Settings, environ: Mapping[str, str]) -> None:
    """Log the effective settings, secrets masked, and warn of ``EMOTION_*`` names nobody reads.

    Parameters
    ----------
    settings : Settings
        What is in force.
    environ : Mapping of str to str
        Where it came from.
    """
    logger.info("effective settings", extra={"facts": settings.masked()})
    known = [row.variable for row in setting_rows()]
    for name in sorted(environ):
        if name.startswith(PREFIX) and not name.startswith(_FOREIGN_PREFIX) and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            logger.warning("unknown setting ignored", extra={"facts": {"variable": name, "closest": "".join(close)}})


def _parse(text: str, annotated: Any) -> Any:
    base = typing.get_args(annotated)[0]
    if typing.get_origin(base) is tuple:
        value: object = [item for part in text.split(",") if (item := part.strip())]
    elif base is bool:
        value = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(text.lower(), text.lower())
    else:
        value = text
    # Text fields must not turn "1" or "null" into something else.
    strict = base in (str, str | None)
    parsed = msgspec.convert(value, annotated, strict=strict, dec_hook=_to_path)
    if isinstance(parsed, float) and not math.isfinite(parsed):
        raise msgspec.ValidationError("Expected a finite number")
    return parsed


def _to_path(type_: type, value: object) -> object:
    return Path(str(value)) if type_ is Path else value


def _choices(type_: Any) -> tuple[str, ...]:
    if typing.get_origin(type_) is tuple:
        type_ = typing.get_args(type_)[0]
    return typing.get_args(type_) if typing.get_origin(type_) is Literal else ()


def _shown(default: object) -> str:
    if default is None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)
