"""How every Kafka client of this service is configured, in one place: confluent-kafka's and Faust's (aiokafka's)."""

from typing import TYPE_CHECKING, Any, Final

from consumer.settings import Settings

if TYPE_CHECKING:
    from faust.types.auth import CredentialsT

# A member learns from the answer to its heartbeat that the group rebalances, and the partitions of a worker that left
# wait until every other has learnt of it.
HEARTBEAT_SECONDS: Final = 1.0
# A dead letter may be as large as a broker accepts; ours must not be what refuses it.
_MAX_MESSAGE_BYTES: Final = 10 * 1024 * 1024


def kafka_config(settings: Settings) -> dict[str, Any]:
    """Give what every confluent-kafka client needs to connect.

    Parameters
    ----------
    settings : Settings
        The service's settings.

    Returns
    -------
    dict
        librdkafka's configuration: brokers and security only. Holds secrets; do not log it.
    """
    config: dict[str, Any] = {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "client.id": settings.app_id,
        "security.protocol": settings.security_protocol,
    }
    if settings.security_protocol.startswith("SASL_"):
        config["sasl.mechanism"] = settings.sasl_mechanism
        config["sasl.username"] = settings.sasl_username
        config["sasl.password"] = settings.sasl_password
    if settings.security_protocol.endswith("SSL"):
        locations = {
            "ssl.ca.location": settings.ssl_ca_location,
            "ssl.certificate.location": settings.ssl_certificate_location,
            "ssl.key.location": settings.ssl_key_location,
            "ssl.key.password": settings.ssl_key_password,
        }
        config |= {name: str(value) for name, value in locations.items() if value is not None}
    return config


def consumer_config(settings: Settings, group_id: str) -> dict[str, Any]:
    """Give a consumer's configuration: from the earliest event on, committing only when told.

    Parameters
    ----------
    settings : Settings
        The service's settings.
    group_id : str
        Consumer group.

    Returns
    -------
    dict
        librdkafka's configuration.
    """
    return kafka_config(settings) | {
        "group.id": group_id,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "session.timeout.ms": int(settings.session_timeout_seconds * 1000),
        "heartbeat.interval.ms": int(HEARTBEAT_SECONDS * 1000),
        # Kafka answers a fetch as soon as there is a byte. Asked twenty times a second, an idle broker spends a tenth
        # of a core on saying that there is none; a longer wait would hold up what is resumed after a rebalance.
        "fetch.wait.max.ms": int(settings.poll_timeout_seconds * 1000),
    }


def producer_config(settings: Settings) -> dict[str, Any]:
    """Give a producer's configuration: every replica acknowledges, retries make no duplicates, keys fall as Java's do.

    Parameters
    ----------
    settings : Settings
        The service's settings.

    Returns
    -------
    dict
        librdkafka's configuration.
    """
    return kafka_config(settings) | {
        "acks": "all",
        "enable.idempotence": True,
        "linger.ms": 5,
        "message.max.bytes": _MAX_MESSAGE_BYTES,
        # librdkafka's own default is CRC32: a track's record and its plays would part from Java's and aiokafka's.
        "partitioner": "murmur2_random",
    }


def packed_producer_config(settings: Settings) -> dict[str, Any]:
    """Give the configuration of a producer of what may be large: as any producer's, but packed.

    A dead letter holds its original, a thousand times as large as an answer at the worst. Two megabytes of text are
    within a broker's limit when they are packed, and 200 kB cost it half as much.

    Parameters
    ----------
    settings : Settings
        The service's settings.

    Returns
    -------
    dict
        librdkafka's configuration.
    """
    return producer_config(settings) | {"compression.type": "lz4"}


def faust_broker(settings: Settings) -> str:
    """Give the brokers as Faust writes them.

    Parameters
    ----------
    settings : Settings
        The service's settings.

    Returns
    -------
    str
        ``kafka://host:port;kafka://host:port``.
    """
    servers = (server.strip() for server in settings.kafka_bootstrap_servers.split(","))
    return ";".join(f"kafka://{server}" for server in servers if server)


def faust_credentials(settings: Settings) -> "CredentialsT | None":
    """Give the security settings as Faust wants them.

    Parameters
    ----------
    settings : Settings
        The service's settings.

    Returns
    -------
    CredentialsT or None
        For ``broker_credentials``; None under ``PLAINTEXT``.

    Raises
    ------
    OSError
        If a certificate or key file cannot be read.
    """
    if settings.security_protocol == "PLAINTEXT":
        return None
    # Imported here: the command line's Kafka commands need no Faust.
    import faust
    from aiokafka.helpers import create_ssl_context

    context = None
    if settings.security_protocol.endswith("SSL"):
        context = create_ssl_context(
            cafile=settings.ssl_ca_location,
            certfile=settings.ssl_certificate_location,
            keyfile=settings.ssl_key_location,
            password=settings.ssl_key_password,
        )
    if settings.security_protocol == "SSL":
        return faust.SSLCredentials(context)
    return faust.SASLCredentials(
        username=settings.sasl_username,
        password=settings.sasl_password,
        ssl_context=context,
        mechanism=settings.sasl_mechanism,
    )
