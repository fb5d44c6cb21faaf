"""``emotion-stream features``: what is printed, where, and with which exit status."""

import csv
import io
import json
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from consumer.commands.features import command
from features import FEATURE_NAMES, AudioLimits, extract_file
from tests.features.signals import tune

SR = 44_100


@pytest.fixture(scope="module")
def piece(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "piece.wav"
    soundfile.write(path, tune(6.0), SR)
    return path


@pytest.fixture(scope="module")
def silence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "silence.wav"
    soundfile.write(path, np.zeros(2 * SR), SR)
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)


def rows(result: Result) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(result.stdout)))


def test_features_csv_prints_path_and_fifty_columns_at_full_precision(piece: Path) -> None:
    result = run(piece)
    assert result.exit_code == 0 and result.stderr == ""
    (row,) = rows(result)
    assert list(row) == ["path", *FEATURE_NAMES]
    assert row.pop("path") == str(piece)
    assert [float(text) for text in row.values()] == list(extract_file(piece))


def test_features_json_prints_one_array_of_the_same_numbers(piece: Path) -> None:
    result = run(piece, piece, "--format", "json")
    first, second = json.loads(result.stdout)
    assert first == second
    assert list(first) == ["path", *FEATURE_NAMES]
    assert list(first.values())[1:] == list(extract_file(piece))


def test_features_one_bad_file_still_prints_the_others_and_exits_with_one(piece: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp3").write_text("words, not music")
    result = run(tmp_path / "none.wav", piece, tmp_path / "text.mp3", tmp_path)
    assert result.exit_code == 1
    assert [row["path"] for row in rows(result)] == [str(piece)]
    missing, text, folder = result.stderr.splitlines()
    assert missing == f"{tmp_path / 'none.wav'}: not_found: there is no such file"
    assert text.startswith(f"{tmp_path / 'text.mp3'}: unsupported_codec: expected WAV")
    assert folder == f"{tmp_path}: decode: expected a regular file, got a directory"


def test_features_no_file_that_can_be_heard_is_still_valid_json(tmp_path: Path) -> None:
    result = run(tmp_path / "none.wav", "--format", "json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == []


def test_features_short_silence_needs_native_rate_and_prints_nan_or_null(silence: Path) -> None:
    assert "too_short" in run(silence).stderr
    (row,) = rows(run(silence, "--native-rate"))
    assert row["_Spectralcentroid_Mean"] == "nan"
    (numbers,) = json.loads(run(silence, "--native-rate", "--format", "json").stdout)
    assert numbers["_Spectralcentroid_Mean"] is None
    assert numbers["_RMSenergy_Mean"] == 0.0


def test_features_window_is_the_one_asked_for(piece: Path) -> None:
    (row,) = rows(run(piece, "--start", "0.5", "--duration", "5"))
    assert float(row["_RMSenergy_Mean"]) == extract_file(piece, 0.5, 5.0)["_RMSenergy_Mean"]


def test_features_native_rate_hears_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, tune(31.0, 8_000, channels=1) * np.linspace(0, 1, 31 * 8_000)[:, None], 8_000)
    (whole,), (window,) = rows(run(path, "--native-rate")), rows(run(path, "--native-rate", "--duration", "30"))
    assert float(whole["_RMSenergy_Mean"]) > float(window["_RMSenergy_Mean"])


def test_features_two_workers_print_the_same_in_order(piece: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.wav"
    soundfile.write(other, tune(5.5, seed=1), SR)
    assert run(piece, other, "--workers", "2").stdout == run(piece, other).stdout


def _read_to_nul(terminal: int) -> str:
    shown = b""
    while not shown.endswith(b"\0"):
        shown += os.read(terminal, 4096)
    return shown[:-1].decode()


def test_features_bar_on_a_terminal_leaves_standard_output_alone(piece: Path, tmp_path: Path) -> None:
    terminal, its_other_end = os.openpty()
    files = (str(piece), str(tmp_path / "none.wav"))
    arguments = [sys.executable, "-m", "consumer", "features", *files, "--format", "json"]
    with ThreadPoolExecutor(1) as reader:
        # Beside the process: a terminal holds 4 kB and then stops its writer.
        reading = reader.submit(_read_to_nul, terminal)
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=its_other_end) as process:
            output, _ = process.communicate()
        # A mark, and not its closing: what a terminal still holds when its last writer goes may be lost.
        os.write(its_other_end, b"\0")
        shown = reading.result()
    os.close(its_other_end)
    os.close(terminal)
    assert process.returncode == 1
    assert [entry["path"] for entry in json.loads(output)] == [str(piece)]
    assert "listening" in shown and "none.wav: not_found: there is no such file" in shown


def test_features_plot_draws_a_png_for_one_file_only(piece: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib belongs to the extra `lifecycle`")
    image = tmp_path / "plot.png"
    assert run(piece, "--plot", image).exit_code == 0
    assert image.read_bytes().startswith(b"\x89PNG")
    refused = run(piece, piece, "--plot", image)
    assert refused.exit_code == 2 and "one FILE" in refused.stderr


def test_features_plot_of_silence_shows_nan_numbers_without_failing(silence: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib belongs to the extra `lifecycle`")
    assert math.isnan(extract_file(silence, limits=AudioLimits.unrestricted())["_Tempo_Mean"])
    assert run(silence, "--native-rate", "--plot", tmp_path / "plot.png").exit_code == 0
    assert (tmp_path / "plot.png").stat().st_size > 10_000


def test_features_file_name_with_escapes_does_not_reach_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "\x1b[31mred\rgone\n[bold].wav"
    path.write_bytes(b"no audio")
    result = run(path)
    assert result.exit_code == 1
    assert " [31mred gone [bold].wav: unsupported_codec" in result.stderr
    assert result.stderr.strip().isprintable()
