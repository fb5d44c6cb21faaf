"""The worker with a producer that gives up after seconds instead of minutes: ``python -m tests.integration.impatient``.

How long Kafka may be away is no setting; a test of what happens then should not take as long.
"""

import consumer.outbox
from consumer.cli import main

GIVES_UP_SECONDS = 12

if __name__ == "__main__":
    consumer.outbox._DELIVERY_TIMEOUT_MS = GIVES_UP_SECONDS * 1000  # type: ignore[misc]  # Final but for this test
    main()
