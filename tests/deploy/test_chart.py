"""The compose file, the image and the Helm chart: valid, pinned, without privileges."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer.settings import setting_rows
from consumer.topics import TRACK_ANALYSIS, TRACK_EVENTS

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "kubernetes" / "emotion-stream"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
VARIABLES = {row.variable for row in setting_rows()}


def helm(*arguments: str) -> str:
    # Where `go install` puts it, if it is not on the path.
    program = shutil.which("helm") or shutil.which("helm", path=Path.home() / "go" / "bin")
    if program is None:
        pytest.skip("needs helm (go install helm.sh/helm/v3/cmd/helm)")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rendered(*arguments: str) -> list[dict[str, Any]]:
    text = helm("template", "demo", str(CHART), "--kube-version", "1.31.0", *arguments)
    return [document for document in yaml.safe_load_all(text) if document]


def containers(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kinds = ("Deployment", "Job")
    return [c for d in documents if d["kind"] in kinds for c in d["spec"]["template"]["spec"]["containers"]]


def test_compose_configuration_is_valid() -> None:
    program = shutil.which("docker-compose")
    command = [program] if program else ["docker", "compose"]
    probe = (
        subprocess.run([*command, "version"], capture_output=True, check=False) if shutil.which(command[0]) else None
    )
    if probe is None or probe.returncode:
        pytest.skip("needs docker compose, from Debian's package docker-compose")
    done = subprocess.run([*command, "config", "-q"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_compose_images_are_pinned_and_limited() -> None:
    for name, service in COMPOSE["services"].items():
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name
        assert service["deploy"]["resources"]["limits"]["memory"], name


def test_compose_settings_exist() -> None:
    environments = [service.get("environment", {}) for service in COMPOSE["services"].values()]
    names = {name for environment in environments for name in environment if name.startswith("EMOTION_")}
    assert names
    assert names <= VARIABLES


def test_compose_our_containers_have_no_privileges_and_one_writable_folder() -> None:
    ours = {name: service for name, service in COMPOSE["services"].items() if "emotion-stream" in service["image"]}
    assert {"worker-1", "worker-2", "topics", "platform", "playlist"} <= ours.keys()
    for name, service in ours.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert [mount.partition(":")[0] for mount in service["tmpfs"]] == ["/tmp"], name  # noqa: S108  (the image's TMPDIR)
        assert all(volume.endswith(":ro") for volume in service.get("volumes", [])), name
        # Nobody gives back what the image takes: see test_image_runs_as_nobody_in_particular.
        assert not {"user", "privileged", "cap_add", "network_mode", "pid"} & service.keys(), name


def test_compose_ports_are_open_to_this_machine_only() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_chart_templates_of_pods_run_without_privileges() -> None:
    # Read as text, for machines without helm; what is rendered is asserted below.
    helpers = (CHART / "templates" / "_helpers.tpl").read_text()
    (security,) = re.findall(r'define "emotion-stream.security" -}}\n(.*?)\n{{- end }}', helpers, re.DOTALL)
    assert yaml.safe_load(security) == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    with_pods = [path for path in (CHART / "templates").glob("*.yaml") if "containers:" in path.read_text()]
    assert len(with_pods) == 2
    for path in with_pods:
        text = path.read_text()
        assert text.count("containers:") == text.count('securityContext: {{- include "emotion-stream.security"')
        assert text.count("containers:") == text.count("runAsNonRoot: true")
        assert text.count("containers:") == text.count("automountServiceAccountToken: false")
        assert "privileged" not in text and "hostPath" not in text and "hostNetwork" not in text


def test_image_runs_as_nobody_in_particular() -> None:
    stages = (ROOT / "deploy" / "Dockerfile").read_text().split("FROM ")[1:]
    assert all(re.match(r"python:\d+\.\d+\.\d+-slim", stage) for stage in stages)
    assert re.search(r"^USER \d+:\d+$", stages[-1], re.MULTILINE)
    assert "HEALTHCHECK" in stages[-1]


def test_image_holds_what_the_worker_needs_and_no_more() -> None:
    assert "requirements-worker.lock" in (ROOT / "deploy" / "Dockerfile").read_text()
    everything, worker = (
        dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("requirements.lock", "requirements-worker.lock")
    )
    # What is tested is what runs: the same versions.
    assert worker.items() <= everything.items()
    assert {"faust-streaming", "confluent-kafka", "opentelemetry-sdk"} <= worker.keys()
    assert not {"deltalake", "matplotlib", "pyarrow"} & worker.keys()


def test_chart_passes_lint() -> None:
    assert "0 chart(s) failed" in helm("lint", str(CHART))


def test_chart_has_a_deployment_a_scaler_and_a_budget_for_each_lane() -> None:
    documents = rendered()
    lanes = {d["metadata"]["name"]: d for d in documents if d["kind"] == "Deployment"}
    assert set(lanes) == {"demo-known", "demo-new"}
    scalers = {d["metadata"]["name"]: d["spec"] for d in documents if d["kind"] == "ScaledObject"}
    assert scalers["demo-known"]["triggers"][0]["metadata"]["topic"] == TRACK_EVENTS.name
    assert scalers["demo-new"]["triggers"][0]["metadata"]["topic"] == TRACK_ANALYSIS.name
    assert {d["metadata"]["name"] for d in documents if d["kind"] == "PodDisruptionBudget"} == set(lanes)


def test_chart_never_scales_beyond_the_partitions() -> None:
    documents = rendered("--set", "topics.partitions=6", "--set", "lanes.new.maxReplicas=50")
    most = [d["spec"]["maxReplicaCount"] for d in documents if d["kind"] == "ScaledObject"]
    assert max(most) == 6


def test_chart_containers_have_no_privileges_and_known_settings() -> None:
    for container in containers(rendered("--set", "settings.EMOTION_DEADLINE_SECONDS=30")):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {variable["name"] for variable in container["env"]} <= VARIABLES


def test_chart_pods_run_as_an_unprivileged_user() -> None:
    pods = [d["spec"]["template"]["spec"] for d in rendered() if d["kind"] in ("Deployment", "Job")]
    assert len(pods) == 3
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False


def test_chart_sends_spans_only_where_a_collector_is_named() -> None:
    def names(documents: list[dict[str, Any]]) -> set[str]:
        return {variable["name"] for container in containers(documents) for variable in container["env"]}

    def opened(documents: list[dict[str, Any]]) -> list[int]:
        (policy,) = [d for d in documents if d["kind"] == "NetworkPolicy"]
        return [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]

    off, on = rendered(), rendered("--set", "tracing.endpoint=http://collector:4318")
    assert names(on) - names(off) == {
        "EMOTION_TRACING", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
    }  # fmt: skip
    assert 4318 in opened(on)
    assert 4318 not in opened(off)


def test_chart_workers_are_probed_where_the_worker_answers() -> None:
    (probed, *_) = [c for c in containers(rendered()) if c["name"] == "worker"]
    assert probed["livenessProbe"]["httpGet"]["path"] == "/live"
    assert probed["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert probed["startupProbe"]["httpGet"]["path"] == "/ready"
