"""What the arguments of a batch stand for."""

from pathlib import Path

import pytest

from consumer.batch.inputs import Item, expand
from consumer.errors import ConfigurationError


def paths(*arguments: Path) -> list[str]:
    return [item.path for item in expand(arguments)]


def test_expand_folder_gives_audio_below_it_by_name(tmp_path: Path) -> None:
    for name in ("b.flac", "a.mp3", "notes.txt", ".hidden.wav", "sub/c.OGG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert paths(tmp_path) == [str(tmp_path / name) for name in ("a.mp3", "b.flac", "sub/c.OGG")]


def test_expand_single_file_is_taken_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "strange").touch()
    assert paths(tmp_path / "strange") == [str(tmp_path / "strange")]


def test_expand_playlist_is_relative_to_itself(tmp_path: Path) -> None:
    playlist = tmp_path / "mine.m3u8"
    playlist.write_text("#EXTM3U\n#EXTINF:1,x\nsong.mp3\n\nhttp://example.org/a.mp3\n/abs/b.wav\n")
    assert paths(playlist) == [str(tmp_path / "song.mp3"), "http://example.org/a.mp3", "/abs/b.wav"]


@pytest.mark.parametrize("column", ["path", "audio_uri"])
def test_expand_manifest_gives_track_ids(tmp_path: Path, column: str) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text(f"track_id,{column}\nt1,a.wav\n,b.wav\nt3,\n")
    assert list(expand([manifest])) == [
        Item(str(tmp_path / "a.wav"), "t1"),
        Item(str(tmp_path / "b.wav"), str(tmp_path / "b.wav")),
    ]


def test_expand_manifest_without_path_column_raises(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("file\na.wav\n")
    with pytest.raises(ConfigurationError, match="expected a column path or audio_uri, got file"):
        paths(tmp_path / "m.csv")


def test_expand_missing_argument_raises(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file"):
        paths(tmp_path / "gone")


def test_expand_manifest_of_a_stranger_cannot_write_to_the_terminal_through_its_columns(tmp_path: Path) -> None:
    manifest = tmp_path / "a.csv"
    manifest.write_text("\x1b[2Jtitle,b\n1,2\n")
    with pytest.raises(ConfigurationError, match=r"got  \[2Jtitle, b$"):
        list(expand([manifest]))
