"""The worker as a whole; what its parts do together is tested on real Kafka (tests/integration)."""

import asyncio
import gc
import platform
import subprocess
import sys

import pytest

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


_FAULTS_OF_LARGE_MESSAGES = """
import resource, sys
from consumer.worker import keep_freed_memory
if "keep" in sys.argv: keep_freed_memory()
def faults():
    for _ in range(100):
        batch = [bytes(200_000) for _ in range(20)]
        # The newest first, as what lies at the end of the heap is what is given back.
        while batch: batch.pop()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has other habits")
def test_memory_of_a_batch_is_kept_for_the_next_one() -> None:
    def faults(*arguments: str) -> int:
        command = [sys.executable, "-c", _FAULTS_OF_LARGE_MESSAGES, *arguments]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert faults() > 1000
    assert faults("keep") < 100
