"""The champion that ships: it can be trusted, reproduced, and asked."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from features import COLUMNS, FEATURE_NAMES, FEATURE_VERSION
from model import load_artifact
from model.artifact import ESTIMATOR_FILE
from model.emotions import EMOTIONS, Emotion
from model.errors import ArtifactPermissionError
from model.gates import BYTES_LIMIT, RECALL_SPREAD_LIMIT, Gate
from model.judge import Judge
from model.promotion import ask_gates
from model.registry import SHIPPED_ROOT, Registry
from model.train import PUBLISHED_SHA256, disagreements, read_training_table, retrain, train

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = REPOSITORY.parent / "shared" / "data"
TABLE = DATA / "turkish_music_emotion.csv"
MODIFIED = DATA / "turkish_music_emotion_modified.csv"
needs_table = pytest.mark.skipif(
    not TABLE.exists(), reason="the Turkish Music Emotion table is not beside the checkout"
)


@pytest.fixture(scope="module")
def champion() -> Judge:
    return Registry().load("champion")


@pytest.fixture(scope="module")
def typical(champion: Judge) -> np.ndarray:
    return np.array([[champion.manifest.deciles[name][4] for name in FEATURE_NAMES]])


def test_champion_states_what_it_is_and_where_it_comes_from(champion: Judge) -> None:
    manifest = champion.manifest

    assert (champion.feature_version, manifest.labels) == (FEATURE_VERSION, EMOTIONS)
    assert manifest.data.sha256 == PUBLISHED_SHA256
    assert manifest.data.licence == "CC BY 4.0"
    assert "Er, M. B." in manifest.data.citation
    assert len(manifest.commit) == 40


def test_champion_was_trained_by_a_commit_of_this_history(champion: Judge) -> None:
    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, check=False)

    if shutil.which("git") is None or git("rev-parse", "--is-shallow-repository").stdout.strip() != "false":
        pytest.skip("needs git and a checkout with its whole history")

    assert git("merge-base", "--is-ancestor", champion.manifest.commit, "HEAD").returncode == 0


def test_champion_is_small(champion: Judge) -> None:
    assert sum(path.stat().st_size for path in (SHIPPED_ROOT / "champion").iterdir()) <= BYTES_LIMIT


def test_champion_judges_the_same_every_time(typical: np.ndarray) -> None:
    fragments = np.repeat(typical, 8, axis=0) * np.linspace(0.9, 1.1, 8)[:, np.newaxis]
    starts = [30.0 * index for index in range(8)]

    first, second = (load_artifact(SHIPPED_ROOT / "champion").judge(fragments, starts) for _ in range(2))

    assert first == second
    assert abs(sum(first.probabilities.values()) - 1.0) < 1e-6
    assert len(first.fragments) == 8


@pytest.mark.parametrize("scale", [0.0, 1e-300, 1e6, -1e6, 1e300])
def test_champion_absurd_numbers_are_out_of_domain_or_refused(
    champion: Judge, typical: np.ndarray, scale: float
) -> None:
    with np.errstate(all="ignore"):
        try:
            judgement = champion.judge(typical * scale, [0.0])
        except ValueError:
            return
    assert judgement.out_of_domain
    assert set(judgement.decisions.values()) == {"withhold"}


def test_champion_neutral_vector_has_an_answer(champion: Judge) -> None:
    judgement = champion.judge(np.array([[column.neutral for column in COLUMNS]]), [0.0])

    assert judgement.emotion in Emotion
    assert judgement.prediction_set[0] is judgement.emotion


def test_champion_after_a_clone_under_umask_002_is_refused_until_make_setup_mends_it(tmp_path: Path) -> None:
    """What git checks out is group-writable there; the refusal and the Makefile carry the same remedy."""
    root = tmp_path / "model" / "artifacts"
    shutil.copytree(SHIPPED_ROOT, root)
    for path in (root, *root.rglob("*")):
        path.chmod(path.stat().st_mode | 0o020)
    with pytest.raises(ArtifactPermissionError, match="chmod -R go-w"):
        Registry(root).load("champion")

    remedy = next(line for line in (REPOSITORY / "Makefile").read_text().splitlines() if "chmod" in line)
    subprocess.run(["/bin/sh", "-c", remedy.strip().removeprefix("@")], cwd=tmp_path, check=True)

    assert Registry(root).load("champion").version


@needs_table
def test_champion_trained_again_from_its_manifest_predicts_exactly_the_same(champion: Judge) -> None:
    X = read_training_table(champion.manifest, TABLE).X
    strange = X + np.random.default_rng(0).normal(size=X.shape) * X.std(axis=0) * 0.2
    bounds = np.array([(column.low, column.high) for column in COLUMNS]).T

    again = retrain(champion.manifest, TABLE)

    for asked in (X, np.clip(strange, *bounds)):
        assert disagreements(champion.classifier, again, asked) == 0


@pytest.mark.slow
@needs_table
def test_ask_gates_biased_and_tampered_candidates_on_the_real_table(champion: Judge, tmp_path: Path) -> None:
    from model.artifact import save_artifact

    lines = TABLE.read_text(encoding="utf-8").splitlines()
    sad = [number for number, line in enumerate(lines) if line.startswith('"sad"')]
    for number in sad[:60]:
        lines[number] = lines[number].replace('"sad"', '"relax"', 1)
    biased = tmp_path / "biased.csv"
    biased.write_text("\n".join(lines), encoding="utf-8")
    save_artifact(tmp_path / "candidate", *train(biased))

    def refused(gates: list[Gate]) -> set[str]:
        return {gate.question for gate in gates if not gate.passed}

    asked = ask_gates(tmp_path / "candidate", champion, biased, reference=TABLE, modified=MODIFIED, repeats=1)
    assert {"spread of recall between emotions", "recall of sad, against the champion"} <= refused(asked)

    with (tmp_path / "candidate" / ESTIMATOR_FILE).open("ab") as file:
        file.write(b"\0")
    asked = ask_gates(tmp_path / "candidate", champion, biased, reference=TABLE, modified=MODIFIED, repeats=1)
    assert refused(asked) == {"digests, permissions, versions"}


def test_champion_serves_no_emotion_much_worse_than_another(champion: Judge) -> None:
    recalls = [champion.manifest.scores[f"recall_{emotion}"].value for emotion in EMOTIONS]
    assert max(recalls) - min(recalls) <= RECALL_SPREAD_LIMIT
