"""The harness on real Kafka: a fault that does not bite would prove nothing."""

import time
from dataclasses import replace

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.integration.administration import admin, await_no_lag, lag, partition_leader
from tests.integration.auditor import Auditor
from tests.integration.certificates import Authority
from tests.integration.conftest import ClusterFactory
from tests.integration.kafka import PASSWORD, USER
from tests.integration.processes import is_alive, port_is_free
from tests.integration.traffic import Platform

pytestmark = pytest.mark.kafka


def test_auditor_without_worker_loses_every_event(bootstrap: str, platform: Platform, auditor: Auditor) -> None:
    platform.mix(["a", "b"], 20, poison_share=0.2)
    platform.flush()
    verdict = auditor.wait(platform.entries, timeout_seconds=0.5)
    assert len(verdict.lost) == verdict.inputs == 20
    assert {entry.offset for entry in platform.entries} != {-1}


def test_place_that_the_broker_did_not_tell_is_looked_up(bootstrap: str, platform: Platform) -> None:
    # What it says of an attempt again of a message it has (DUPLICATE_SEQUENCE_NUMBER): delivered, and no offset.
    platform.mix(["a", "b"], 20)
    platform.flush()
    told = dict(platform.book)
    platform._unplaced = [replace(platform.book.pop(event_id), offset=-1) for event_id in list(told)[5:9]]
    platform.flush()
    assert platform.book == told
    platform._unplaced = [replace(platform.entries[0], value=b"never sent")]
    with pytest.raises(RuntimeError, match="1 inputs that Kafka took are not there"):
        platform.flush()


@pytest.mark.slow
def test_proxy_cut_and_frozen_stops_traffic_and_restored_lets_it_through(new_cluster: ClusterFactory) -> None:
    cluster = new_cluster(proxied=True, topics=False)
    proxy = cluster.brokers[0].proxy
    assert proxy is not None

    def reachable() -> bool:
        try:
            return bool(admin(cluster.bootstrap("PROXIED")).list_topics(timeout=1.0).brokers)
        except KafkaException:
            return False

    assert reachable()
    proxy.cut()
    assert not reachable()
    proxy.restore()
    assert reachable()
    proxy.freeze()
    assert not reachable()
    proxy.restore()
    proxy.delay_seconds = 0.2
    begun = time.monotonic()
    assert admin(cluster.bootstrap("PROXIED")).list_topics(timeout=10).brokers
    assert time.monotonic() - begun > 0.4  # a request and its answer, each held back


@pytest.mark.slow
def test_secure_listeners_take_the_right_credentials_only(new_cluster: ClusterFactory, authority: Authority) -> None:
    cluster = new_cluster(authority=authority, topics=False)
    client = authority.issue("client")
    stranger = Authority(authority.directory / "other", "another authority").issue("stranger")

    def reachable(**settings: str) -> bool:
        base: dict[str, str | int | float | bool] = {"ssl.ca.location": str(authority.certificate), "log_level": 0}
        try:
            return bool(AdminClient({**base, **settings}).list_topics(timeout=3.0).brokers)
        except KafkaException:
            return False

    scram = {
        "bootstrap.servers": cluster.bootstrap("SCRAM"), "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": USER,
    }  # fmt: skip
    assert reachable(**scram, **{"sasl.password": PASSWORD})
    assert not reachable(**scram, **{"sasl.password": "wrong"})
    mtls = {"bootstrap.servers": cluster.bootstrap("MTLS"), "security.protocol": "SSL"}
    for identity, welcome in ((client, True), (stranger, False)):
        files = {"ssl.certificate.location": str(identity.certificate), "ssl.key.location": str(identity.key)}
        assert reachable(**mtls, **files) is welcome
    assert not reachable(**mtls)


@pytest.mark.slow
def test_cluster_of_three_survives_the_loss_of_one_and_leaves_nothing_behind(new_cluster: ClusterFactory) -> None:
    cluster = new_cluster(brokers=3)
    leader = partition_leader(cluster.bootstrap(), "track-events", 0)
    pids = [broker.process.pid for broker in cluster.brokers if broker.process]
    cluster.brokers[leader - 1].kill()
    deadline = time.monotonic() + 30
    while partition_leader(cluster.bootstrap(), "track-events", 0) == leader:
        assert time.monotonic() < deadline, "no new leader within 30 s"
    cluster.brokers[leader - 1].start()
    cluster.wait_ready()
    cluster.close()
    assert not any(map(is_alive, pids))
    assert all(port_is_free(port) for broker in cluster.brokers for port in broker.ports.values())


def test_lag_of_lanes_that_never_acknowledged_is_everything(bootstrap: str, platform: Platform) -> None:
    assert lag(bootstrap) == 0
    platform.mix(["a", "b"], 20)
    platform.flush()
    assert (lag(bootstrap), lag(bootstrap, lanes=["new"])) == (20, 0)
    with pytest.raises(AssertionError, match="lag of 20"):
        await_no_lag(bootstrap, 0.1)
