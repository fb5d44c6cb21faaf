"""Both lanes over SASL_SSL and over mutual TLS, against a real broker with certificates made here."""

from pathlib import Path

import pytest

from tests.integration.administration import await_no_lag
from tests.integration.auditor import Auditor
from tests.integration.certificates import Authority
from tests.integration.conftest import ClusterFactory, Record, WorkerFactory
from tests.integration.kafka import PASSWORD, USER
from tests.integration.traffic import Platform, tracks

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_both_lanes_work_over_scram_and_mutual_tls_and_tell_no_secret(
    new_cluster: ClusterFactory, authority: Authority, audio: Path, new_worker: WorkerFactory, record: Record
) -> None:
    cluster = new_cluster(authority=authority)
    bootstrap = cluster.bootstrap()
    platform = Platform(bootstrap, audio)
    catalogue = tracks(platform, 4)
    client = authority.issue("client")
    scram = {
        "security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", "sasl_username": USER,
        "sasl_password": PASSWORD, "ssl_ca_location": authority.certificate,
    }  # fmt: skip
    mutual = {
        "security_protocol": "SSL", "ssl_ca_location": authority.certificate,
        "ssl_certificate_location": client.certificate, "ssl_key_location": client.key,
    }  # fmt: skip
    workers = [
        new_worker(cluster.bootstrap("SCRAM"), "scram", log_level="DEBUG", **scram),
        new_worker(cluster.bootstrap("MTLS"), "mutual-tls", log_level="DEBUG", **mutual),
    ]
    with Auditor(bootstrap) as auditor:
        # One after the other, so that each does the work of both lanes alone; the second finds what the first left.
        for number, worker in enumerate(workers):
            worker.start()
            platform.mix([*catalogue, platform.track(10 + number)], 100, poison_share=0.1)
            platform.flush()
            verdict = auditor.wait(platform.entries, 60)
            assert verdict.balanced, verdict.line()
            metrics = str(worker.metrics())
            assert worker.terminate()[0] == 0, worker.tail()
            for secret in (PASSWORD, "PRIVATE KEY"):
                assert secret not in worker.log.read_text()
                assert secret not in metrics
    record(verdict, "SCRAM-SHA-512 over TLS, then mutual TLS")
    await_no_lag(bootstrap)


def test_wrong_password_stops_the_worker_or_keeps_it_unready(
    new_cluster: ClusterFactory, authority: Authority, new_worker: WorkerFactory
) -> None:
    cluster = new_cluster(authority=authority)
    wrong = "battery-staple"
    worker = new_worker(
        cluster.bootstrap("SCRAM"), security_protocol="SASL_SSL", sasl_username=USER,
        sasl_password=wrong, ssl_ca_location=authority.certificate,
    ).start(wait=False)  # fmt: skip
    with pytest.raises(AssertionError, match=r"ended with|/ready said"):
        worker.wait_ready(20)
    assert wrong not in worker.log.read_text()
