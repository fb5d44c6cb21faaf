"""Half an hour of mixed load (``make test-endurance``, nightly): nothing grows.

``EMOTION_TEST_MINUTES`` makes it shorter or longer.
"""

import os
import statistics
import time

import pytest

from tests.integration.auditor import Auditor
from tests.integration.conftest import Record, WorkerFactory
from tests.integration.faults import judge
from tests.integration.processes import threads
from tests.integration.traffic import Load, Platform, tracks

MINUTES = float(os.environ.get("EMOTION_TEST_MINUTES") or 30)
MEGABYTE = 2**20
SAMPLES = 60
pytestmark = [
    pytest.mark.kafka, pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(int(MINUTES * 60 + 900)),
]  # fmt: skip


def test_endurance_memory_descriptors_threads_and_children_stay_flat(
    bootstrap: str, platform: Platform, auditor: Auditor, new_worker: WorkerFactory, record: Record
) -> None:
    catalogue = tracks(platform, 20)
    worker = new_worker(bootstrap, pool_size=2).start()
    samples = []
    with Load(platform, catalogue, per_second=40, new_share=0.02, poison_share=0.02):
        begun = time.monotonic()
        while time.monotonic() - begun < MINUTES * 60:
            time.sleep(MINUTES * 60 / SAMPLES)
            samples.append(
                (worker.rss_bytes(), worker.metric("process_open_fds"), threads(worker.pid), len(worker.children()))
            )
    verdict = auditor.settle(platform.entries, 120)
    # The first third is warming up: caches of decoded kernels, of judgements, of connections.
    third = len(samples) // 3
    middle, last = (
        [statistics.median(column) for column in zip(*part, strict=True)]
        for part in (samples[third : 2 * third], samples[2 * third :])
    )
    growth = (last[0] - middle[0]) / MEGABYTE
    counts = ["/".join(f"{count:g}" for count in part[1:]) for part in (middle, last)]
    note = (
        f"{MINUTES:g} min, medians of the middle and of the last third: memory {middle[0] / MEGABYTE:.1f} MB and "
        f"{growth:+.1f} MB; descriptors/threads/children {counts[0]} and {counts[1]}"
    )
    judge(verdict, record, note)
    assert growth <= 10
    assert last[1] <= middle[1] + 2
    assert last[2] <= middle[2]
    assert last[3] == middle[3] == 3  # two analysts, and the process that multiprocessing keeps count of resources with
