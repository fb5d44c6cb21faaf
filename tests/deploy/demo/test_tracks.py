from pathlib import Path

import soundfile

from deploy.demo.__main__ import CATALOGUE
from deploy.demo.tracks import break_track, find_tracks


def test_find_tracks_takes_audio_at_and_below_the_folder_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    (tmp_path / ".trash").mkdir()
    for name in ("b.MP3", "album/a_song.opus", "cover.jpg", "list.m3u", ".trash/c.ogg", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert [track.title for track in find_tracks(tmp_path, "r")] == ["A song", "B"]


def test_find_tracks_ids_differ_between_tracks_and_runs(tmp_path: Path) -> None:
    for name in ("a.ogg", "b.ogg"):
        (tmp_path / name).write_bytes(b"x")
    ids = [track.track_id for run_id in ("one", "two") for track in find_tracks(tmp_path, run_id)]
    assert len(set(ids)) == 4


def test_break_track_keeps_the_beginning_only(tmp_path: Path) -> None:
    track = find_tracks(CATALOGUE, "r")[0]
    broken = break_track(track, tmp_path, "r")
    assert broken.path.read_bytes() == track.path.read_bytes()[:2000]
    assert broken.path.suffix == track.path.suffix


def test_catalogue_is_twelve_pieces_of_thirty_seconds_listed_in_its_readme() -> None:
    readme = (CATALOGUE / "README.md").read_text()
    tracks = find_tracks(CATALOGUE, "r")
    assert len(tracks) == 12
    for track in tracks:
        assert f"`{track.path.name}`" in readme
        assert abs(soundfile.info(track.path).duration - 30) < 0.1
    assert tracks[-1].path.name == "village-polka.ogg"
