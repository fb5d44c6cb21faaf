"""Half an hour of mixed load (``make test-endurance``, nightly): nothing grows.

``EMOTION_TEST_MINUTES`` makes it shorter or longer.
"""

import os
import time

import pytest

from tests.integration.administration import await_no_lag
from tests.integration.auditor import Auditor
from tests.integration.conftest import Record, WorkerFactory
from tests.integration.faults import judge
from tests.integration.processes import open_descriptors, threads
from tests.integration.traffic import Load, Platform, tracks

MINUTES = float(os.environ.get("EMOTION_TEST_MINUTES") or 30)
MEGABYTE = 2**20
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
            time.sleep(MINUTES * 60 / 60)
            samples.append(
                (worker.rss_bytes(), open_descriptors(worker.pid), threads(worker.pid), len(worker.children()))
            )
    verdict = auditor.wait(platform.entries, 120)
    # The first third is warming up: caches of decoded kernels, of judgements, of connections.
    settled, end = samples[len(samples) // 3], samples[-1]
    growth = (end[0] - settled[0]) / MEGABYTE
    note = f"{MINUTES:g} min: memory {growth:+.0f} MB, descriptors, threads, children {settled[1:]} -> {end[1:]}"
    judge(verdict, record, note)
    await_no_lag(bootstrap)
    assert growth <= 50
    assert end[1] <= settled[1] + 8 and end[2] <= settled[2] + 4 and end[3] == settled[3]
