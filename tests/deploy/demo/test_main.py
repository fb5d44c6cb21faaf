from pathlib import Path

from click.testing import CliRunner

from deploy.demo.__main__ import main


def test_main_folder_without_audio_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no music")
    result = CliRunner().invoke(main, ["--audio", str(tmp_path)])
    assert result.exit_code == 2
    assert f"expected audio files in {tmp_path}, found none" in result.output


def test_main_folder_with_a_comma_is_refused_because_the_setting_is_a_list(tmp_path: Path) -> None:
    folder = tmp_path / "Bach, Johann"
    folder.mkdir()
    (folder / "a.ogg").write_bytes(b"x")
    result = CliRunner().invoke(main, ["--audio", str(folder)])
    assert result.exit_code == 2
    assert "comma-separated" in result.output


def test_main_no_plays_is_refused() -> None:
    assert CliRunner().invoke(main, ["--plays", "0"]).exit_code == 2
