"""Where the integration tests get Kafka from: ``EMOTION_TEST_KAFKA``, Docker, Apache Kafka's jars, in this order."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pytest

import features
from tests.integration.administration import CONTRACT, admin, create_topics, delete_topics
from tests.integration.auditor import Auditor
from tests.integration.certificates import Authority
from tests.integration.jars import JarsUnavailableError, kafka_classpath
from tests.integration.kafka import Cluster
from tests.integration.ledger import Verdict
from tests.integration.table import Row, table_lines
from tests.integration.traffic import Platform, write_track
from tests.integration.worker import WorkerProcess

WorkerFactory = Callable[..., WorkerProcess]
ClusterFactory = Callable[..., Cluster]
Record = Callable[..., None]
ledger: list[tuple[str, Verdict, str]] = []


@pytest.fixture(scope="session")
def shared_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One plain broker for the whole run."""
    with ExitStack() as stack:
        yield _external() or _container(stack) or _from_jars(stack, tmp_path_factory.mktemp("kafka"))


@pytest.fixture
def bootstrap(shared_bootstrap: str) -> Iterator[str]:
    """A broker whose topics are new."""
    create_topics(shared_bootstrap)
    yield shared_bootstrap
    # Some tests delete topics themselves.
    delete_topics(shared_bootstrap, CONTRACT & set(admin(shared_bootstrap).list_topics(timeout=10).topics))


@pytest.fixture
def new_cluster(tmp_path: Path) -> Iterator[ClusterFactory]:
    """Makes clusters of the test's own, for faults of brokers, networks and certificates."""
    _require_jars()
    with ExitStack() as stack:

        def start(*, topics: bool = True, **options: Any) -> Cluster:
            cluster = stack.enter_context(Cluster(tmp_path / "kafka", **options))
            if topics:
                create_topics(cluster.bootstrap(), replication=cluster.replication)
            return cluster

        yield start


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The certificate authority that brokers and workers trust."""
    return Authority(tmp_path / "authority")


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """The folder workers may read audio from."""
    folder = tmp_path / "audio"
    folder.mkdir()
    return folder


@pytest.fixture
def platform(bootstrap: str, audio: Path) -> Platform:
    """Produces track events into the shared broker."""
    return Platform(bootstrap, audio)


@pytest.fixture
def auditor(bootstrap: str) -> Iterator[Auditor]:
    """Reads the shared broker's output topics."""
    with Auditor(bootstrap) as reader:
        yield reader


@pytest.fixture(scope="session")
def compiled_ear(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have the ear's kernels compiled and on disk before the first worker starts.

    Its pool runs at low priority: two workers compiling at once beside brokers take minutes on a busy machine.
    """
    features.extract_file(write_track(tmp_path_factory.mktemp("ear") / "track.wav", 0))


@pytest.fixture
def new_worker(tmp_path: Path, compiled_ear: None) -> Iterator[WorkerFactory]:
    """Makes workers that are killed at the end of the test at the latest."""
    with ExitStack() as stack:

        def make(bootstrap: str, name: str = "worker", **settings: object) -> WorkerProcess:
            worker = WorkerProcess(bootstrap, tmp_path, name, **settings)
            stack.callback(worker.__exit__)
            return worker

        yield make


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """Put a fault's ledger line into the table at the end of the run."""

    def enter(verdict: Verdict, note: str = "") -> None:
        ledger.append((request.node.name, verdict, note))

    return enter


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print faults × ledger: every fault test of the run has its line, also one that came to no ledger."""
    stats = terminalreporter.stats
    failed = {r.nodeid.rpartition("::")[2]: r for kind in ("failed", "error") for r in stats.get(kind, [])}
    rows = [Row(name, verdict, note, "FAILED" if name in failed else "holds") for name, verdict, note in ledger]
    told = {row.name for row in rows}
    rows += [
        Row(name, None, "it failed before its books were closed", "FAILED")
        for name, report in failed.items()
        if name not in told and "fault" in report.keywords
    ]
    rows += [
        Row(report.nodeid.rpartition("::")[2], None, _why_skipped(report), "SKIPPED")
        for report in stats.get("skipped", [])
        if "fault" in report.keywords
    ]
    if rows:
        terminalreporter.section("the ledger")
        for line in table_lines(rows):
            terminalreporter.write_line(line)


def _why_skipped(report: Any) -> str:
    return str(report.longrepr[2]).removeprefix("Skipped: ")


def _external() -> str | None:
    bootstrap = os.environ.get("EMOTION_TEST_KAFKA")
    if not bootstrap:
        return None
    found = CONTRACT & set(admin(bootstrap).list_topics(timeout=10).topics)
    if found:
        pytest.fail(
            f"EMOTION_TEST_KAFKA={bootstrap} already has {sorted(found)}, which these tests would delete; "
            "expected a broker without them"
        )
    return bootstrap


def _container(stack: ExitStack) -> str | None:
    if not _docker_answers():
        return None
    from testcontainers.kafka import KafkaContainer

    # Apache Kafka 4.0, the generation of the jars.
    container = stack.enter_context(KafkaContainer("confluentinc/cp-kafka:8.0.0").with_kraft())
    bootstrap: str = container.get_bootstrap_server()
    return bootstrap


def _docker_answers() -> bool:
    # Docker's own client leaks its socket when no engine answers, which warnings-as-errors turns into a failed run.
    host = urlsplit(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"))
    family, address = (
        (socket.AF_UNIX, host.path) if host.scheme == "unix" else (socket.AF_INET, (host.hostname, host.port or 2375))
    )
    with closing(socket.socket(family)) as probe:
        probe.settimeout(5.0)
        return probe.connect_ex(address) == 0


def _require_jars() -> None:
    try:
        kafka_classpath()
    except JarsUnavailableError as missing:
        _without_kafka(f"no Kafka of the test's own: {missing}")


def _without_kafka(reason: str) -> NoReturn:
    """Skip, or fail where the run is for nothing but Kafka (``make test-faults``): skips would look like success."""
    if os.environ.get("EMOTION_TEST_NEEDS_KAFKA"):
        pytest.fail(reason)
    pytest.skip(reason)


def _from_jars(stack: ExitStack, directory: Path) -> str:
    _require_jars()
    return stack.enter_context(Cluster(directory)).bootstrap()
