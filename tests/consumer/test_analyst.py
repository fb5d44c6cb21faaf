"""A pool process judges with the model each request names, whatever was promoted meanwhile; it knows no secret."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from consumer.analyst import AnalysisRequest, Analyst, AnalystPlan, listening_from
from consumer.errors import FatalError
from consumer.settings import Settings
from model.errors import ArtifactMissingError
from tests.consumer.test_pipeline import FakeJudge, tune, write


class Models:
    def __init__(self) -> None:
        self.loaded: list[str] = []

    def load(self, version: str) -> Any:
        if version == "gone":
            raise ArtifactMissingError("no such artifact")
        self.loaded.append(version)
        judge = FakeJudge()
        judge.version = version
        return judge


@pytest.fixture
def piece(tmp_path: Path) -> Path:
    return write(tmp_path / "a.wav", tune(6))


def request(piece: Path, version: str, challenger: str | None = None) -> AnalysisRequest:
    return AnalysisRequest(
        audio_uri=str(piece),
        position_seconds=None,
        whole_track=False,
        model_version=version,
        challenger_version=challenger,
    )


def analyst_of(models: Models, folder: Path) -> Analyst:
    return Analyst(models.load, listening_from(Settings(audio_roots=(folder,))), folder)


def test_request_is_judged_by_the_model_it_names_loaded_once(tmp_path: Path, piece: Path) -> None:
    models = Models()
    analyst = analyst_of(models, tmp_path)
    versions = [analyst(request(piece, version)).model_version for version in ("m-1", "m-2", "m-1")]
    assert versions == ["m-1", "m-2", "m-1"]
    assert models.loaded == ["m-1", "m-2"]


def test_request_for_a_model_that_is_gone_is_fatal(tmp_path: Path, piece: Path) -> None:
    with pytest.raises(FatalError, match="no such artifact"):
        analyst_of(Models(), tmp_path)(request(piece, "gone"))


def test_challenger_that_is_gone_costs_nobody_an_answer(tmp_path: Path, piece: Path) -> None:
    analysis = analyst_of(Models(), tmp_path)(request(piece, "m-1", challenger="gone"))
    assert analysis.model_version == "m-1"
    assert analysis.challenger is None


def test_plan_for_a_pool_process_carries_no_secret_of_kafka(tmp_path: Path) -> None:
    secrets = (b"the-sasl-password", b"the-key-password")
    configured = Settings(
        security_protocol="SASL_SSL",
        sasl_username="worker-of-kafka",
        sasl_password=secrets[0].decode(),
        ssl_certificate_location=Path("/keys/certificate.pem"),
        ssl_key_location=Path("/keys/private.pem"),
        ssl_key_password=secrets[1].decode(),
        audio_roots=(tmp_path,),
        model_dir=tmp_path / "models",
        log_level="WARNING",
    )
    plan = AnalystPlan.from_settings(configured, model_version="m-1", scratch=tmp_path)
    assert plan.listening == listening_from(configured)
    assert (plan.model_root, plan.log_level) == (tmp_path / "models", "WARNING")
    pickled = pickle.dumps(plan)
    for secret in (*secrets, b"worker-of-kafka", b"private.pem"):
        assert secret not in pickled
