"""Kafka clients' configuration: librdkafka accepts it, Faust understands it."""

import confluent_kafka
import faust
import pytest

from consumer.kafka_config import (
    consumer_config,
    faust_broker,
    faust_credentials,
    kafka_config,
    packed_producer_config,
    producer_config,
)
from consumer.settings import Settings

SASL = Settings(security_protocol="SASL_PLAINTEXT", sasl_username="svc", sasl_password="hunter2")  # noqa: S106


def test_plaintext_config_holds_no_credentials() -> None:
    config = kafka_config(Settings(kafka_bootstrap_servers="a:1,b:2", sasl_password="hunter2"))  # noqa: S106
    assert config["bootstrap.servers"] == "a:1,b:2"
    assert "hunter2" not in map(str, config.values())


@pytest.mark.parametrize("settings", [Settings(kafka_bootstrap_servers="127.0.0.1:1"), SASL])
def test_librdkafka_accepts_every_client_configuration(settings: Settings) -> None:
    confluent_kafka.Consumer(consumer_config(settings, "group")).close()
    confluent_kafka.Producer(producer_config(settings))
    confluent_kafka.Producer(packed_producer_config(settings))


@pytest.mark.parametrize("session_seconds", [6.0, 45.0])
def test_members_learn_of_a_rebalance_within_a_second_whatever_the_session(session_seconds: float) -> None:
    # Whose partitions move waits until every other member has heard of it.
    assert consumer_config(Settings(session_timeout_seconds=session_seconds), "group")["heartbeat.interval.ms"] == 1000


def test_sasl_settings_reach_both_clients() -> None:
    assert kafka_config(SASL)["sasl.password"] == "hunter2"
    credentials = faust_credentials(SASL)
    assert isinstance(credentials, faust.SASLCredentials)
    assert (credentials.username, credentials.password) == ("svc", "hunter2")
    assert credentials.protocol.value == "SASL_PLAINTEXT"
    assert credentials.mechanism.value == "SCRAM-SHA-512"


def test_tls_gives_faust_a_verifying_context() -> None:
    settings = Settings(security_protocol="SASL_SSL", sasl_username="svc", sasl_password="hunter2")  # noqa: S106
    credentials = faust_credentials(settings)
    assert isinstance(credentials, faust.SASLCredentials)
    assert credentials.protocol.value == "SASL_SSL"
    assert credentials.ssl_context is not None
    assert credentials.ssl_context.check_hostname
    assert faust_credentials(Settings()) is None


def test_faust_broker_names_every_server() -> None:
    assert faust_broker(Settings(kafka_bootstrap_servers="a:1, b:2")) == "kafka://a:1;kafka://b:2"


def test_producer_partitions_as_java_does() -> None:
    assert producer_config(Settings())["partitioner"] == "murmur2_random"
