"""The worker as a whole; what its parts do together is tested on real Kafka (tests/integration)."""

import asyncio
import gc

from consumer.settings import Settings
from consumer.worker import Worker


def test_started_worker_gives_a_full_collection_nothing_to_walk_through() -> None:
    # All that was imported was looked through once a minute or so: 130 ms in which no thread of ours ran.
    walked, thresholds = len(gc.get_objects()), gc.get_threshold()
    try:
        asyncio.run(object.__new__(Worker).on_started())
        assert len(gc.get_objects()) < walked / 100
        # Nor is a batch looked through while it is answered.
        assert gc.get_threshold()[0] > Settings().known_batch_events
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
