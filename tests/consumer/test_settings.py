"""Settings: defaults, parsing, refusal, masking, and the README's table."""

import logging
import os
import pickle
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from consumer.errors import ConfigurationError
from consumer.settings import Settings, log_settings, setting_rows, settings_table, withhold_secrets

SECRETS = {"EMOTION_SASL_USERNAME": "svc", "EMOTION_SASL_PASSWORD": "hunter2", "EMOTION_SSL_KEY_PASSWORD": "hunter2"}


def test_from_environment_empty_gives_defaults() -> None:
    assert Settings.from_environment({}) == Settings()
    assert Settings.from_environment({"EMOTION_LANES": "", "EMOTION_POOL_SIZE": " "}) == Settings()


def test_defaults_allow_no_audio_location_and_bind_loopback() -> None:
    settings = Settings()
    assert not (settings.audio_roots or settings.allowed_hosts or settings.allowed_private_hosts)
    assert not settings.allowed_buckets
    assert settings.metrics_host == "127.0.0.1"


def test_from_environment_parses_every_kind() -> None:
    settings = Settings.from_environment(
        {
            "EMOTION_LANES": "new",
            "EMOTION_AUDIO_ROOTS": "/music, /more music",
            "EMOTION_MODEL_DIR": "/models",
            "EMOTION_SHADOW": "Yes",
            "EMOTION_POOL_SIZE": "3",
            "EMOTION_DEADLINE_SECONDS": "30.5",
            "EMOTION_SASL_USERNAME": "123",
            "EMOTION_APP_ID": "null",
        }
    )
    assert settings.lanes == ("new",)
    assert settings.audio_roots == (Path("/music"), Path("/more music"))
    assert settings.model_dir == Path("/models")
    assert settings.shadow is True
    assert settings.pool_size == 3
    assert settings.deadline_seconds == 30.5
    assert settings.sasl_username == "123"
    assert settings.app_id == "null"


def test_default_written_as_variable_parses_to_itself() -> None:
    written = {row.variable: row.default for row in setting_rows() if " " not in row.default}
    assert len(written) > 30
    assert Settings.from_environment(written) == Settings()


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("EMOTION_LANES", "known,old", "one of known, new"),
        ("EMOTION_LOG_FORMAT", "xml", "one of json, console"),
        ("EMOTION_SECURITY_PROTOCOL", "TLS", "one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
        ("EMOTION_POOL_SIZE", "0", ">= 1"),
        ("EMOTION_POOL_SIZE", "many", "int"),
        ("EMOTION_METRICS_PORT", "70000", "<= 65535"),
        ("EMOTION_DEADLINE_SECONDS", "nan", "> 0"),
        ("EMOTION_DEADLINE_SECONDS", "inf", "finite"),
        ("EMOTION_TRANSACTIONS", "perhaps", "bool"),
        ("EMOTION_ALLOWED_HOSTS", "https://host/", "host, host:port, *.domain or *"),
        ("EMOTION_ALLOWED_PRIVATE_HOSTS", "*", "host or host:port"),
    ],
)
def test_from_environment_bad_value_says_what_was_expected(variable: str, text: str, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_environment({variable: text})
    assert variable in str(caught.value)
    assert expected in str(caught.value)
    assert repr(text) in str(caught.value)


def test_from_environment_bad_value_is_quoted_without_its_secrets() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_environment({"EMOTION_ALLOWED_HOSTS": "https://user:hunter2@audio.example/?sig=hunter2"})
    assert "hunter2" not in str(caught.value)
    assert "'https://...@audio.example/?...'" in str(caught.value)


def test_from_environment_names_every_problem_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_environment({"EMOTION_POOL_SIZE": "x", "EMOTION_MAX_ATTEMPTS": "y"})
    assert "EMOTION_POOL_SIZE" in str(caught.value)
    assert "EMOTION_MAX_ATTEMPTS" in str(caught.value)


@pytest.mark.parametrize(
    "environ",
    [
        {"EMOTION_SECURITY_PROTOCOL": "SASL_SSL"},
        {"EMOTION_SSL_KEY_LOCATION": "/key.pem"},
        {"EMOTION_FETCH_TIMEOUT_SECONDS": "20"},
        {"EMOTION_ANALYSIS_TIMEOUT_SECONDS": "61"},
    ],
)
def test_settings_that_contradict_are_refused(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        Settings.from_environment(environ)


def test_secrets_are_masked_wherever_settings_are_shown(caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings.from_environment(SECRETS)
    console = Console(file=StringIO(), width=200)
    console.print(settings)
    with caplog.at_level(logging.INFO):
        log_settings(settings, SECRETS)
    shown = [repr(settings), str(settings), f"{settings}", str(settings.masked()), str(console.file.getvalue())]  # type: ignore[attr-defined]  # the StringIO above
    shown += [str(record.__dict__) for record in caplog.records]
    assert settings.sasl_password == "hunter2"  # noqa: S105  # not a real one
    assert not any("hunter2" in text for text in shown)
    assert all("********" in text for text in shown)


def test_withhold_secrets_leaves_everything_else_in_the_environment() -> None:
    environ = {
        "EMOTION_SASL_PASSWORD": "a",
        "EMOTION_SSL_KEY_PASSWORD": "b",
        "EMOTION_SASL_USERNAME": "c",
        "AWS_SECRET_ACCESS_KEY": "d",
    }
    withhold_secrets(environ)
    # Object stores are read by the analysis processes themselves: their credentials are needed there.
    assert environ == {"EMOTION_SASL_USERNAME": "c", "AWS_SECRET_ACCESS_KEY": "d"}


# The user changes in the middle, where a kernel sets the flag by itself: hence it is set back first.
WITHHOLDING = """
import ctypes, os, subprocess
from prometheus_client import PROCESS_COLLECTOR
from consumer.settings import withhold_memory

if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
read = ["cat", f"/proc/{os.getpid()}/environ"]
before = subprocess.run(read, capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]})
assert "hunter2" in before.stdout
withhold_memory()
after = subprocess.run(read, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})
assert (after.returncode, after.stdout) == (1, ""), after
assert "Permission denied" in after.stderr, after
# What is started keeps its own, and this process what it reads of itself.
subprocess.run(["cat", "/proc/self/environ"], check=True, stdout=subprocess.DEVNULL)
names = {metric.name for metric in PROCESS_COLLECTOR.collect()}
assert {"process_open_fds", "process_max_fds", "process_resident_memory_bytes", "process_cpu_seconds"} <= names, names
os.close(os.open(f"/proc/self/fd/{os.open('/bin/cat', os.O_RDONLY)}", os.O_RDONLY))
"""


def test_withhold_memory_keeps_processes_of_the_same_user_out() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHHOLDING],
        env={**os.environ, "EMOTION_SASL_PASSWORD": "hunter2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_worker_withholds_its_memory_before_it_runs() -> None:
    # PR_GET_DUMPABLE, as the exit status.
    program = (
        "import ctypes, consumer.worker; from consumer.cli import main;"
        "consumer.worker.run = lambda settings: ctypes.CDLL(None).prctl(3, 0, 0, 0, 0);"
        "main(['worker'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_log_settings_unknown_name_warns_with_the_closest(caplog: pytest.LogCaptureFixture) -> None:
    environ = {"EMOTION_POOLSIZE": "3", "EMOTION_TEST_KAFKA": "x", "HOME": "/", "EMOTION_SHADOW": "1"}
    log_settings(Settings.from_environment(environ), environ)
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.__dict__["facts"] == {"variable": "EMOTION_POOLSIZE", "closest": "EMOTION_POOL_SIZE"}


def test_settings_reach_a_pool_process_by_pickle() -> None:
    settings = Settings.from_environment(SECRETS)
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301  # our own bytes


def test_every_setting_has_a_meaning_and_a_unit_where_it_is_a_number() -> None:
    units = ("_seconds", "_bytes", "_events", "_count", "_factor", "_size", "_port", "_attempts", "_in_flight")
    others = {"max_reanalyses_per_second", "fragments_per_upload", "dead_letter_limit"}
    for row in setting_rows():
        assert row.meaning.endswith(".")
        if isinstance(getattr(Settings(), row.field), int | float) and row.default not in ("true", "false"):
            assert row.field.endswith(units) or row.field in others


def test_readme_table_is_the_class() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    if "EMOTION_KAFKA_BOOTSTRAP_SERVERS" not in readme:
        pytest.skip("the README has no settings table yet")
    assert settings_table() in readme
