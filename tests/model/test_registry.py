import os
import threading
from pathlib import Path

import pytest

from model.artifact import ESTIMATOR_FILE, MANIFEST_FILE
from model.errors import ArtifactDigestError, ArtifactMissingError, ArtifactPermissionError, RegistryError
from model.registry import POINTER_FILE, Registry
from tests.model.stand_in import write_artifact


@pytest.fixture
def artifacts(tmp_path: Path) -> list[tuple[Path, str]]:
    paths = [tmp_path / f"artifact-{seed}" for seed in range(3)]
    return [(path, write_artifact(path, seed=seed).version) for seed, path in enumerate(paths)]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


def test_current_empty_registry_is_none(registry: Registry) -> None:
    assert registry.current("champion") is None


def test_load_empty_registry_says_what_was_expected(registry: Registry) -> None:
    with pytest.raises(ArtifactMissingError, match="expected an artifact 'champion', found nothing"):
        registry.load("champion")


def test_load_directory_named_champion_needs_no_pointer(tmp_path: Path) -> None:
    version = write_artifact(tmp_path / "root" / "champion").version

    registry = Registry(tmp_path / "root")

    assert registry.current("champion") == registry.load("champion").version == version
    assert registry.current("challenger") is None
    assert not (tmp_path / "root" / POINTER_FILE).exists()


def test_add_champion_after_champion_keeps_the_former(registry: Registry, artifacts: list[tuple[Path, str]]) -> None:
    for path, _ in artifacts:
        registry.add(path, "champion")

    versions = [version for _, version in artifacts]
    assert registry.current() == registry.load().version == versions[2]
    assert [entry.version for entry in registry.pointers().previous] == versions[:2]
    assert registry.load(versions[0]).version == versions[0]
    assert [role for role, _, _ in registry.manifests()] == ["champion", "previous", "previous"]


def test_add_challenger_as_champion_moves_the_name(registry: Registry, artifacts: list[tuple[Path, str]]) -> None:
    registry.add(artifacts[0][0], "champion")
    entry = registry.add(artifacts[1][0], "challenger")
    assert registry.current("challenger") == artifacts[1][1]

    registry.add(registry.root / entry.directory, "champion")

    assert (registry.current("champion"), registry.current("challenger")) == (artifacts[1][1], None)


def test_rollback_twice_returns_through_history_and_then_says_there_is_no_more(
    registry: Registry, artifacts: list[tuple[Path, str]]
) -> None:
    versions = [version for _, version in artifacts]
    for path, _ in artifacts:
        registry.add(path, "champion")

    registry.rollback()
    assert (registry.current("champion"), registry.current("challenger")) == (versions[1], versions[2])
    registry.rollback()
    assert registry.current("champion") == versions[0]
    with pytest.raises(RegistryError, match="former champion"):
        registry.rollback()


def test_rollback_to_a_corrupt_artifact_changes_nothing(registry: Registry, artifacts: list[tuple[Path, str]]) -> None:
    first = registry.add(artifacts[0][0], "champion")
    registry.add(artifacts[1][0], "champion")
    (registry.root / first.directory / ESTIMATOR_FILE).write_bytes(b"something else")

    with pytest.raises(ArtifactDigestError):
        registry.rollback()

    assert registry.current("champion") == artifacts[1][1]


def test_load_artifact_swapped_behind_the_pointer_is_refused(
    registry: Registry, artifacts: list[tuple[Path, str]]
) -> None:
    entry = registry.add(artifacts[0][0], "champion")
    for name in (ESTIMATOR_FILE, MANIFEST_FILE):
        (registry.root / entry.directory / name).write_bytes((artifacts[1][0] / name).read_bytes())

    with pytest.raises(ArtifactDigestError, match="names version"):
        registry.load("champion")


def test_pointers_that_are_not_json_are_refused(registry: Registry, artifacts: list[tuple[Path, str]]) -> None:
    registry.add(artifacts[0][0], "champion")
    (registry.root / POINTER_FILE).write_text("champion")

    with pytest.raises(ArtifactDigestError, match="not a pointer file"):
        registry.current("champion")


@pytest.mark.parametrize("name", [".", POINTER_FILE])
def test_current_registry_writable_by_others_is_refused(
    registry: Registry, artifacts: list[tuple[Path, str]], name: str
) -> None:
    registry.add(artifacts[0][0], "champion")
    (registry.root / name).chmod(0o777)

    with pytest.raises(ArtifactPermissionError, match="chmod -R go-w"):
        registry.current("champion")


def test_find_by_version_artifact_that_nothing_points_at(registry: Registry, artifacts: list[tuple[Path, str]]) -> None:
    for path, _ in artifacts[:2]:
        registry.add(path, "challenger")

    assert registry.load(artifacts[0][1]).version == artifacts[0][1]
    assert [role for role, _, _ in registry.manifests()] == ["challenger", "kept"]


@pytest.mark.parametrize("name", ["nobody", "../artifact-0", ".", ""])
def test_find_unknown_name_lists_what_there_is(
    registry: Registry, artifacts: list[tuple[Path, str]], name: str
) -> None:
    registry.add(artifacts[1][0], "champion")

    with pytest.raises(ArtifactMissingError, match=f"found champion {artifacts[1][1]}"):
        registry.find(name)


def test_load_champion_beside_a_broken_artifact_does_not_mind(
    registry: Registry, artifacts: list[tuple[Path, str]]
) -> None:
    registry.add(artifacts[0][0], "champion")
    (registry.root / "broken").mkdir()
    (registry.root / "broken" / MANIFEST_FILE).write_text("{")

    assert registry.load().version == artifacts[0][1]
    assert [(role, manifest is None) for role, _, manifest in registry.manifests()] == [
        ("champion", False),
        ("kept", True),
    ]


def test_add_under_a_loose_umask_can_be_loaded(registry: Registry, artifacts: list[tuple[Path, str]]) -> None:
    before = os.umask(0o000)
    try:
        registry.add(artifacts[0][0], "champion")
    finally:
        os.umask(before)

    assert registry.load().version == artifacts[0][1]


def test_add_root_that_cannot_be_a_directory_names_the_setting(
    tmp_path: Path, artifacts: list[tuple[Path, str]]
) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(RegistryError, match="EMOTION_MODEL_DIR"):
        Registry(tmp_path / "file").add(artifacts[0][0], "champion")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_add_read_only_root_names_the_setting(tmp_path: Path, artifacts: list[tuple[Path, str]]) -> None:
    (tmp_path / "root").mkdir(mode=0o555)

    with pytest.raises(RegistryError, match="EMOTION_MODEL_DIR"):
        Registry(tmp_path / "root").add(artifacts[0][0], "champion")


def test_load_during_promotions_and_rollbacks_is_never_torn(
    registry: Registry, artifacts: list[tuple[Path, str]]
) -> None:
    registry.add(artifacts[0][0], "champion")
    done = threading.Event()

    def swap() -> None:
        for _ in range(8):
            registry.add(artifacts[1][0], "champion")
            registry.rollback()
        done.set()

    swapper = threading.Thread(target=swap)
    swapper.start()
    seen = set()
    while not done.is_set():
        seen.add(registry.load("champion").version)
        assert registry.current("champion") is not None
    swapper.join()

    assert seen <= {artifacts[0][1], artifacts[1][1]}
    assert registry.current() == artifacts[0][1]


def test_add_leaves_no_temporary_files(registry: Registry, artifacts: list[tuple[Path, str]]) -> None:
    registry.add(artifacts[0][0], "champion")

    assert sorted(path.name for path in registry.root.iterdir()) == [".lock", artifacts[0][1], POINTER_FILE]
