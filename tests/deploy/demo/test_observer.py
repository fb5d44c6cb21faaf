import pytest

from consumer.errors import BrokerError
from consumer.settings import Settings
from deploy.demo import observer as observer_module
from deploy.demo.ledger import Ledger
from deploy.demo.observer import Observer


def test_observer_without_kafka_says_where_it_was_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observer_module, "_TIMEOUT_SECONDS", 0.2)
    with pytest.raises(BrokerError, match=r"expected Kafka at 127\.0\.0\.1:1, got"):
        Observer(Settings(kafka_bootstrap_servers="127.0.0.1:1"), Ledger(), lambda outcome: None)
