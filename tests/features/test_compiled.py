import os
import subprocess
import sys
from pathlib import Path

import pytest

from features import compiled


@pytest.fixture
def temporary_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_private_cache_is_for_this_user_alone(temporary_root: Path) -> None:
    directory = compiled.private_cache()
    assert directory.parent == temporary_root
    assert directory.stat().st_mode & 0o077 == 0
    assert compiled.private_cache() == directory


def test_private_cache_of_somebody_else_is_refused(temporary_root: Path) -> None:
    compiled.private_cache().chmod(0o777)
    with pytest.raises(PermissionError, match=r"expected .* to be private"):
        compiled.private_cache()


def bake(folder: Path) -> Path:
    (folder / "features_1").mkdir(parents=True)
    (folder / "features_1" / "kernel.nbi").write_bytes(b"machine code")
    (folder / "features_1" / "kernel.nbi").chmod(0o444)
    folder.chmod(0o555)
    return folder


def test_private_cache_begins_with_the_baked_one_and_can_be_written(temporary_root: Path) -> None:
    baked = bake(temporary_root / "baked")
    directory = compiled.private_cache(baked=str(baked))
    assert directory.stat().st_mode & 0o077 == 0
    copy = directory / "features_1" / "kernel.nbi"
    copy.write_bytes(copy.read_bytes() + b", newer")
    # Whoever comes second takes what is there.
    assert compiled.private_cache(baked=str(baked)) == directory
    assert copy.read_bytes() == b"machine code, newer"
    assert sorted(path.name for path in temporary_root.iterdir()) == ["baked", directory.name]


@pytest.mark.parametrize("baked", ["missing", "loose"])
def test_private_cache_takes_nothing_that_others_could_have_baked(temporary_root: Path, baked: str) -> None:
    bake(temporary_root / "loose").chmod(0o777)
    assert not list(compiled.private_cache(baked=str(temporary_root / baked)).iterdir())


def test_compiled_without_any_writable_place_but_temporary_still_imports(tmp_path: Path) -> None:
    # A file where numba would make its directories: nothing below it can be written, whoever runs the test.
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    source = tmp_path / "kernel.py"
    source.write_text("from features.compiled import compiled\n\n@compiled\ndef double(x):\n    return 2 * x\n")
    (tmp_path / "__pycache__").write_text("")
    environment = {
        **os.environ,
        "NUMBA_CACHE_DIR": "",
        "XDG_CACHE_HOME": str(blocked),
        "HOME": str(blocked),
        "TMPDIR": str(tmp_path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).resolve().parents[2])]),
    }
    result = subprocess.run(
        [sys.executable, "-c", "import kernel; print(kernel.double(21))"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout == "42\n", result.stderr
    assert list(tmp_path.glob("emotion-stream-*/**/*.nbi"))
