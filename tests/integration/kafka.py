"""A real Kafka for the tests: one or three brokers that can be stopped, killed, paused and cut off.

Apache Kafka 4 in KRaft mode, each broker its own controller, on loopback ports, from its jars (``jars.py``). Every
broker has a plain listener for the tests, a proxied one for workers whose network is to fail, and, when certificates
are given, SASL_SSL (SCRAM-SHA-512) and mutual-TLS listeners.
"""

import json
import signal
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.integration.administration import admin
from tests.integration.certificates import Authority, Identity
from tests.integration.jars import kafka_classpath
from tests.integration.processes import die_with_parent, free_port
from tests.integration.proxy import Proxy

Listener = Literal["PLAIN", "PROXIED", "SCRAM", "MTLS"]
PROTOCOLS = "PLAIN:PLAINTEXT,PROXIED:PLAINTEXT,SCRAM:SASL_SSL,MTLS:SSL,CONTROLLER:PLAINTEXT"
USER, PASSWORD = "emotion", "correct-horse"
START_SECONDS = 60.0


class Broker:
    """One Kafka process, broker and controller in one.

    Parameters
    ----------
    node_id : int
        From 1.
    directory : Path
        Its configuration, log and data.
    listeners : sequence of str
        Listener names beside ``CONTROLLER``.
    long_lived : bool
        Run Java as Kafka's documentation advises, with the heartbeats Kafka has by default.
    """

    def __init__(
        self, node_id: int, directory: Path, listeners: Sequence[Listener], *, long_lived: bool = False
    ) -> None:
        self.node_id = node_id
        self.long_lived = long_lived
        self.directory = directory
        self.ports: dict[str, int] = {name: free_port() for name in (*listeners, "CONTROLLER")}
        self.proxy = Proxy(free_port(), self.ports["PROXIED"]) if "PROXIED" in listeners else None
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of a running broker."""
        assert self.process is not None, "the broker is not started"
        return self.process.pid

    def advertised_port(self, listener: Listener) -> int:
        """Give the port a client of ``listener`` is told."""
        return self.proxy.port if listener == "PROXIED" and self.proxy else self.ports[listener]

    def start(self) -> None:
        """Start the process on its old ports and data; ``Cluster.wait_ready`` waits for it."""
        log = (self.directory / "broker.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                _java("kafka.Kafka", str(self.directory / "server.properties"), long_lived=self.long_lived),
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent,
            )  # fmt: skip

    def stop(self) -> None:
        """Shut down in order (SIGTERM), handing leadership over first."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill -9."""
        self._end(signal.SIGKILL)

    def wait_exit(self, timeout_seconds: float) -> None:
        """Wait until the process ends of itself, as on a broken disk."""
        if self.process:
            self.process.wait(timeout_seconds)
            self.process = None

    def pause(self) -> None:
        """Stop the process where it stands (SIGSTOP): connections open, nobody answers."""
        if self.process:
            self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on (SIGCONT)."""
        if self.process:
            self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill the process and its proxy, whatever state they are in."""
        self._end(signal.SIGKILL)
        if self.proxy:
            self.proxy.close()

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(timeout=10)
        self.process = None


class Cluster:
    """One or three brokers; a context manager that leaves no process behind.

    Parameters
    ----------
    directory : Path
        Scratch space for configuration and data.
    brokers : int
        1, or 3 for replication factor 3 and two in-sync replicas.
    proxied : bool
        Give each broker a listener behind a ``Proxy``.
    authority : Authority, optional
        Signs the brokers' certificates and turns on the ``SCRAM`` and ``MTLS`` listeners.
    disk : Path, optional
        Where the brokers keep their data instead of ``directory``: a file system that is to be filled, say.
    long_lived : bool
        Run Java as Kafka's documentation advises, with the heartbeats Kafka has by default, for what measures the
        worker's speed: otherwise a broker starts soon, is slower ever after, and is found dead soon.
    """

    def __init__(
        self,
        directory: Path,
        *,
        brokers: int = 1,
        proxied: bool = False,
        authority: Authority | None = None,
        disk: Path | None = None,
        long_lived: bool = False,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        listeners: list[Listener] = ["PLAIN"]
        listeners += ["PROXIED"] if proxied else []
        listeners += ["SCRAM", "MTLS"] if authority else []
        self.brokers = [
            Broker(node, directory / f"broker-{node}", listeners, long_lived=long_lived)
            for node in range(1, brokers + 1)
        ]
        self.replication = min(3, brokers)
        self._disk = disk
        identity = authority.issue("broker") if authority else None
        cluster_id = _cluster_id()
        for broker in self.brokers:
            self._configure(broker, identity, authority)
            _format(broker.directory, cluster_id, scram=authority is not None)

    def __enter__(self) -> "Cluster":
        """Start every broker and wait until all answer."""
        try:
            for broker in self.brokers:
                broker.start()
            self.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill every broker."""
        for broker in self.brokers:
            broker.close()

    def bootstrap(self, listener: Listener = "PLAIN") -> str:
        """Give ``bootstrap.servers`` of a listener."""
        return ",".join(f"127.0.0.1:{broker.advertised_port(listener)}" for broker in self.brokers)

    def wait_ready(self) -> None:
        """Wait until every broker that should run answers and the cluster has no partition without a leader."""
        expected = {broker.node_id for broker in self.brokers if broker.process}
        deadline = time.monotonic() + START_SECONDS
        last: object = "nothing"
        while time.monotonic() < deadline:
            for broker in self.brokers:
                if broker.process and broker.process.poll() is not None:
                    raise RuntimeError(f"broker {broker.node_id} ended: {_tail(broker.directory / 'broker.log')}")
            try:
                # Asked one by one: the others may still believe in a broker that is gone, or not yet back.
                views = [_view(f"127.0.0.1:{b.ports['PLAIN']}") for b in self.brokers if b.process]
                if all(expected <= alive and led for alive, led in views):
                    return
                last = views
            except KafkaException as error:
                last = error
        raise TimeoutError(f"Kafka was not ready in {START_SECONDS:.0f} s: expected brokers {expected}, got {last}")

    def await_in_sync(self, topic: str, replicas: int) -> None:
        """Wait until every partition of a topic has so many replicas in sync."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            partitions = self.admin().list_topics(topic, timeout=10).topics[topic].partitions.values()
            if all(len(partition.isrs) == replicas for partition in partitions):
                return
            assert time.monotonic() < deadline, f"{topic} never had {replicas} replicas in sync"
            time.sleep(0.1)

    def admin(self) -> AdminClient:
        """Give an admin client of the plain listener."""
        return admin(self.bootstrap())

    def _configure(self, broker: Broker, identity: Identity | None, authority: Authority | None) -> None:
        voters = ",".join(f"{b.node_id}@127.0.0.1:{b.ports['CONTROLLER']}" for b in self.brokers)
        advertised = [name for name in broker.ports if name != "CONTROLLER"]
        settings: dict[str, object] = {
            "process.roles": "broker,controller",
            "node.id": broker.node_id,
            "controller.quorum.voters": voters,
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAIN",
            "listener.security.protocol.map": PROTOCOLS,
            "listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, port in broker.ports.items()),
            "advertised.listeners": ",".join(
                f"{name}://127.0.0.1:{broker.advertised_port(name)}"  # type: ignore[arg-type]  # the keys are Listeners
                for name in advertised
            ),
            "log.dirs": (self._disk or broker.directory) / f"data-{broker.node_id}",
            "auto.create.topics.enable": "false",
            "default.replication.factor": self.replication,
            "min.insync.replicas": max(1, self.replication - 1),
            "offsets.topic.replication.factor": self.replication,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": self.replication,
            "transaction.state.log.min.isr": max(1, self.replication - 1),
            "transaction.state.log.num.partitions": 4,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
        }
        if not broker.long_lived:
            # A broker is declared dead after 9 s by default; the fault windows here are shorter than that. Where speed
            # is measured nothing fails, and four times the heartbeats would be processor time taken from the worker.
            settings |= {"broker.session.timeout.ms": 3000, "broker.heartbeat.interval.ms": 500}
        if identity and authority:
            settings |= {
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": identity.bundle,
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": authority.certificate,
                "listener.name.mtls.ssl.client.auth": "required",
                "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-512",
                "listener.name.scram.scram-sha-512.sasl.jaas.config": (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                ),
            }
        broker.directory.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{name}={value}\n" for name, value in settings.items())
        (broker.directory / "server.properties").write_text(lines)


def _cluster_id() -> str:
    # The storage tool takes an id that begins with a dash for an option.
    while (drawn := urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()).startswith("-"):
        pass
    return drawn


def _view(bootstrap: str) -> tuple[set[int], bool]:
    metadata = admin(bootstrap).list_topics(timeout=1)
    led = all(p.leader >= 0 for topic in metadata.topics.values() for p in topic.partitions.values())
    return set(metadata.brokers), led


# What Kafka's documentation (operations, Java version) names as typical, with 4 GB instead of 6. In the start script's
# 1 GB a produce request of half a megabyte is "humongous" to G1, and its pauses are the known lane's p99. All of it
# touched at the start: a page's first touch costs up to 16 µs in a virtual machine, a million pages a minute of load.
# The young generation's size is fixed: on cores that a worker and a load generator want too, no collection ends within
# 20 ms, and G1 would shrink it to a twentieth of the heap and pause, as long as before, every second or two.
_LONG_LIVED: Final = (
    "-Xms4g",
    "-Xmx4g",
    "-Xmn2500m",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:G1HeapRegionSize=16M",
    "-XX:+AlwaysPreTouch",
)
# A test's broker lives for seconds: quick code at once beats fast code later, on cores it shares with workers.
_SHORT_LIVED: Final = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


def _java(main_class: str, *arguments: str, long_lived: bool = False) -> list[str]:
    options = [*(_LONG_LIVED if long_lived else _SHORT_LIVED), "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    return ["java", *options, "-cp", kafka_classpath(), main_class, *arguments]


def _format(directory: Path, cluster_id: str, *, scram: bool) -> None:
    arguments = ["format", "-t", cluster_id, "-c", str(directory / "server.properties")]
    if scram:
        arguments += ["--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"]
    done = subprocess.run(_java("kafka.tools.StorageTool", *arguments), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"StorageTool format: {(done.stdout + done.stderr)[-800:]}")


def _tail(path: Path) -> str:
    return json.dumps(path.read_text(errors="replace")[-1500:])
