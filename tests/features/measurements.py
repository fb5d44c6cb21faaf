"""What docs/features.md reports: agreement with MIRtoolbox, and what a file's format does to the numbers.

``python -m tests.features.measurements`` measures anew (a few minutes; needs ../shared) and writes both
``measurements.json`` and the page's tables; with ``--print`` it writes nothing and prints what WAV, FLAC, MP3 at
320 kbit/s and 48 kHz do to each column. Tests hold the page to the file, and the file to the code.
"""

import argparse
import functools
import json
import math
import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
import soxr

from features import COLUMNS, FEATURE_NAMES, AudioLimits, Column, FeatureVector, extract_file
from features.typical import read_typical
from tests.features.encode import encode
from tests.features.golden import CLIPS, read_golden

MEASUREMENTS: Final = Path(__file__).with_name("measurements.json")
PAGE: Final = Path(__file__).parents[2] / "docs" / "features.md"
# Heading in the table -> ending of `encode`; 48 kHz is a FLAC, resampled before it is written.
FORMATS: Final = {
    "48 kHz": "48k",
    "MP3 320": "320.mp3",
    "AAC 192": "m4a",
    "Opus 160": "opus",
    "Ogg Vorbis q4": "ogg",
    "MP3 128": "mp3",
}

# What `--print` shows.
SAME_PIECE: Final = {"WAV": "wav", "FLAC": "flac", "MP3 320": "320.mp3", "48 kHz": "48k"}

Pairs = dict[str, tuple[float, float]]


def measure_parity(clips: Iterable[str]) -> Pairs:
    """Give each column's median and worst relative error against MIRtoolbox (denominator at least 1e-3)."""
    golden = read_golden()
    errors: dict[str, list[float]] = {name: [] for name in FEATURE_NAMES}
    for clip in clips:
        path = CLIPS / f"{clip}.flac"
        vector = extract_file(path, duration=math.inf, native_rate=True, limits=AudioLimits.unrestricted())
        for name in FEATURE_NAMES:
            errors[name].append(golden.error(clip, name, vector[name]))
    return {name: (statistics.median(values), max(values)) for name, values in errors.items()}


def format_differences(clip: Path, folder: Path, ending: str) -> dict[str, float]:
    """Encode a clip, and give how far each column moves, in standard deviations of the dataset."""
    y, sr = soundfile.read(clip, dtype="float32", always_2d=True)
    if ending == "48k":
        y, sr, ending = soxr.resample(y, sr, 48_000), 48_000, "flac"
    elif ending == "opus":
        y, sr = soxr.resample(y, sr, 48_000), 48_000
    return differences(_original(clip), extract_file(encode(folder, ending, y, sr)))


def differences(original: FeatureVector, other: FeatureVector) -> dict[str, float]:
    """Give how far each column of the model's vector moves, in standard deviations of the dataset."""
    typical = read_typical()
    moved = np.abs(other.finite - original.finite)
    return {name: float(moved[i] / typical[name].std) for i, name in enumerate(FEATURE_NAMES)}


def stability_clips() -> list[Path]:
    """Give every second clip of our own that has the dataset's rate: three or so of each emotion."""
    return [path for path in sorted(CLIPS.glob("own*.flac")) if soundfile.info(path).samplerate == 44_100][::2]


@functools.cache
def _original(clip: Path) -> FeatureVector:
    return extract_file(clip)


def measure_formats(formats: dict[str, str]) -> dict[str, Pairs]:
    """Give each column's median and worst movement for every format."""
    measured = {}
    for heading, ending in formats.items():
        with tempfile.TemporaryDirectory() as folder:
            moved = [format_differences(clip, Path(folder), ending) for clip in stability_clips()]
        measured[heading] = {
            name: (statistics.median(one[name] for one in moved), max(one[name] for one in moved))
            for name in FEATURE_NAMES
        }
    return measured


def column_table(parity: Pairs) -> str:
    """Write the table of columns."""
    rows = ["| column | what it is | unit | range | where MIRtoolbox gives NaN | error: median | worst |"]
    rows.append("|---|---|---|---|---|---|---|")
    for column in COLUMNS:
        median, worst = parity[column.name]
        cells = (f"`{column.name}`", f"{column.definition} *{column.source}*", column.unit, _range(column))
        rows.append(f"| {' | '.join(cells)} | {column.missing} | {_error(median)} | {_error(worst)} |")
    return "\n".join(rows)


def format_table(formats: dict[str, Pairs]) -> str:
    """Write the table of formats: median and worst movement, to a hundredth of a standard deviation."""
    rows = [f"| column | {' | '.join(formats)} |", f"|---|{'---:|' * len(formats)}"]
    for name in FEATURE_NAMES:
        cells = [f"{pairs[name][0]:.2f} / {pairs[name][1]:.2f}" for pairs in formats.values()]
        rows.append(f"| `{name}` | {' | '.join(cells)} |")
    means = [statistics.mean(pairs[name][0] for name in FEATURE_NAMES) for pairs in formats.values()]
    rows.append(f"| **mean of the medians** | {' | '.join(f'{mean:.3f}' for mean in means)} |")
    return "\n".join(rows)


def _range(column: Column) -> str:
    low = "" if column.low == float("-inf") else f"{column.low:g}"
    high = "" if column.high == float("inf") else f"{column.high:g}"
    return f"{low} to {high}" if low and high else f"≥ {low}" if low else "any"


def _error(value: float) -> str:
    return "0" if value == 0 else f"{value:.0e}"


def with_tables(page: str, tables: dict[str, str]) -> str:
    """Put each table between its markers."""
    for name, table in tables.items():
        begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
        before, rest = page.split(begin)
        _, after = rest.split(end)
        page = before + begin + table + end + after
    return page


def rendered_page() -> str:
    """Give docs/features.md with its tables made anew from ``measurements.json`` and the schema."""
    measured = json.loads(MEASUREMENTS.read_text())
    return with_tables(
        PAGE.read_text(),
        {"columns": column_table(measured["parity"]), "formats": format_table(measured["formats"])},
    )


def as_json(measured: dict[str, Any], indent: int = 2) -> str:
    """Write nested dictionaries with one column a line, so that a change of one figure is a change of one line."""
    pad = " " * indent
    lines = [
        f"{pad}{json.dumps(key)}: {as_json(value, indent + 2) if isinstance(value, dict) else json.dumps(value)}"
        for key, value in measured.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n" + pad[2:] + "}"


def _rounded(pairs: Pairs) -> Pairs:
    return {name: (float(f"{median:.3g}"), float(f"{worst:.3g}")) for name, (median, worst) in pairs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--print", action="store_true", help="print one table, write nothing")
    if parser.parse_args().print:
        print(f"median / worst over {len(stability_clips())} pieces, in standard deviations of the dataset")
        print(format_table(measure_formats(SAME_PIECE)))
        return
    parity = _rounded(measure_parity(read_golden().values))
    formats = {heading: _rounded(pairs) for heading, pairs in measure_formats(FORMATS).items()}
    MEASUREMENTS.write_text(as_json({"parity": parity, "formats": formats}) + "\n")
    PAGE.write_text(rendered_page())


if __name__ == "__main__":
    main()
