import numpy as np
import pytest

from features.schema import FEATURE_NAMES
from model.inputs import INPUT_NAMES, PORTABLE, REPERTOIRE, derive_inputs, summarize_chroma


def test_derive_inputs_any_finite_features_give_finite_inputs() -> None:
    X = np.random.default_rng(0).normal(0, 10, size=(200, len(FEATURE_NAMES)))
    inputs = derive_inputs(X)
    assert inputs.shape == (200, len(INPUT_NAMES))
    assert np.isfinite(inputs).all()
    assert np.isfinite(derive_inputs(np.zeros((1, len(FEATURE_NAMES))))).all()


@pytest.mark.parametrize("semitones", range(1, 12))
def test_summarize_chroma_transposed_is_the_same(semitones: int) -> None:
    chroma = np.random.default_rng(1).uniform(size=(20, 12))
    np.testing.assert_allclose(
        summarize_chroma(np.roll(chroma, semitones, axis=1)), summarize_chroma(chroma), atol=1e-12
    )


def test_summarize_chroma_tells_major_from_minor() -> None:
    scales = np.zeros((2, 12))
    scales[0, [0, 4, 7]] = scales[1, [0, 3, 7]] = 1
    major_minus_minor = summarize_chroma(scales)[:, 9]
    assert major_minus_minor[0] > 0 > major_minus_minor[1]


def test_derive_inputs_roughness_of_a_louder_copy_is_nearly_the_same() -> None:
    X = np.ones((2, len(FEATURE_NAMES)))
    X[:, FEATURE_NAMES.index("_RMSenergy_Mean")] = 0.1, 0.2
    X[:, FEATURE_NAMES.index("_Roughness_Mean")] = 300.0, 1200.0
    roughness = derive_inputs(X)[:, INPUT_NAMES.index("Roughness_Mean")]
    # The floors under both logarithms keep it from being exact.
    assert roughness[0] == pytest.approx(roughness[1], abs=0.02)


def test_portable_and_repertoire_inputs_do_not_overlap() -> None:
    assert not set(PORTABLE.tolist()) & set(REPERTOIRE.tolist())
    assert "chroma_dft_5" in {INPUT_NAMES[i] for i in PORTABLE}
