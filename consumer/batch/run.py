"""The batch run: pending tracks -> pool of analysis processes -> journal."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from consumer.analyst import AnalysisRequest
from consumer.batch.files import audio_digest, fingerprint, stamp
from consumer.batch.inputs import Item
from consumer.batch.journal import Journal
from consumer.batch.rows import Row, failed_row, judged_row
from consumer.errors import EmotionServiceError, FatalError
from consumer.pipeline import Analysis
from consumer.pool import Pool

AnalysisPool = Pool[AnalysisRequest, Analysis]


async def classify_pending(
    journal: Journal, pool: AnalysisPool, *, model_version: str, workers: int, on_row: Callable[[Row], None]
) -> None:
    """Classify every track that the journal still wants.

    Parameters
    ----------
    journal : Journal
        Says what is pending, and takes every result as soon as it is there.
    pool : Pool
        Started.
    model_version : str
        Who judges.
    workers : int
        Processes of the pool; twice as many tracks are under way, so that none waits for the next one.
    on_row : callable
        Told of each result, for the progress bar.

    Raises
    ------
    FatalError
        If processes cannot be started any more; what was done is in the journal.
    """
    room = asyncio.Semaphore(2 * workers)
    async with asyncio.TaskGroup() as tasks:
        for item in journal.pending():
            await room.acquire()
            tasks.create_task(_classify(item, journal, pool, model_version, on_row)).add_done_callback(
                lambda _: room.release()
            )


async def _classify(
    item: Item, journal: Journal, pool: AnalysisPool, model_version: str, on_row: Callable[[Row], None]
) -> None:
    seen, mark = stamp(item.path), fingerprint(item.path)
    row = await _judged_before(item.path, mark, journal) or await _heard(item.path, pool, model_version)
    journal.record(row, seen=seen, fingerprint=mark)
    on_row(row)


async def _judged_before(path: str, mark: str, journal: Journal) -> Row | None:
    """Give what was said of the same audio under another name."""
    if not mark or not journal.has_fingerprint(mark):
        return None
    row = journal.judged(await asyncio.to_thread(audio_digest, path))
    return None if row is None else msgspec.structs.replace(row, path=path)


async def _heard(path: str, pool: AnalysisPool, model_version: str) -> Row:
    try:
        request = AnalysisRequest(
            audio_uri=path if "://" in path else str(Path(path).absolute()),
            position_seconds=None,
            whole_track=True,
            model_version=model_version,
        )
        return judged_row(path, await pool.run(request))
    except FatalError:
        raise
    except EmotionServiceError as error:
        return failed_row(path, error)
