"""What aiokafka reads off the wire: headers whose names are no UTF-8, and transactions with their markers."""

import struct
from collections.abc import Sequence

import pytest
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from consumer.faust_consumer import FetchedRecords
from tests.consumer.hostile import HeaderName

CRC_AT, CHECKED_FROM = 17, 21
ATTRIBUTES_AT, CONTROL = 21, 0x20
PRODUCER = 7
PLACE = TopicPartition("track-analysis", 0)


def batch_of(*names: bytes, first: int = 0, codec: int = 0) -> bytes:
    """Write one record for each name, as a producer that does not look at them."""
    builder = _DefaultRecordBatchBuilderPy(2, codec, False, -1, -1, -1, 1 << 20)
    for number, name in enumerate(names):
        assert builder.append(number, 1000 + number, b"key", b"value-%d" % number, [(HeaderName(name), b"1")])
    return placed(builder, first)


def transaction_of(*values: bytes, first: int) -> bytes:
    """Write records within a transaction."""
    builder = _DefaultRecordBatchBuilderPy(2, 0, True, PRODUCER, 0, 0, 1 << 20)
    for number, value in enumerate(values):
        assert builder.append(number, 1000, b"key", value, [("name", b"1")])
    return placed(builder, first)


def marker(*, commits: bool, first: int) -> bytes:
    """Write what the broker puts behind a transaction."""
    builder = _DefaultRecordBatchBuilderPy(2, 0, True, PRODUCER, 0, -1, 1 << 20)
    assert builder.append(0, 1000, struct.pack(">hh", 0, commits), struct.pack(">hi", 0, 1), [])
    return placed(builder, first, attributes=CONTROL)


def placed(builder: _DefaultRecordBatchBuilderPy, first: int, attributes: int = 0) -> bytes:
    """Give a batch as it lies in the log at that offset."""
    batch = bytearray(builder.build())
    struct.pack_into(">q", batch, 0, first)
    batch[ATTRIBUTES_AT + 1] |= attributes
    struct.pack_into(">I", batch, CRC_AT, calc_crc32c(bytes(batch[CHECKED_FROM:])))
    return bytes(batch)


def read(data: bytes, aborted: Sequence[tuple[int, int]] = ()) -> list[tuple[int, bytes, str]]:
    """Read a fetch as aiokafka does for who wants what was committed."""
    records = fetcher.PartitionRecords(
        PLACE, fetcher.MemoryRecords(data), aborted, 0, None, None, True, fetcher.READ_COMMITTED
    )
    return [(record.offset, record.value, record.headers[0][0]) for record in records]


@pytest.mark.parametrize("codec", [0, 1, 2, 3, 4], ids=["none", "gzip", "snappy", "lz4", "zstd"])
def test_name_that_is_no_utf8_is_spelt_out_and_what_follows_is_read(codec: int) -> None:
    data = batch_of(b"fine", b"\xff\xfe-x", b"l\xc3\xa4uft", b"\xe4", codec=codec) + batch_of(b"next", first=4)
    assert read(data) == [
        (0, b"value-0", "fine"),
        (1, b"value-1", r"\xff\xfe-x"),
        (2, b"value-2", "läuft"),
        (3, b"value-3", r"\xe4"),
        (4, b"value-0", "next"),
    ]


def test_part_of_a_batch_at_the_end_of_a_fetch_is_left_for_the_next() -> None:
    whole = batch_of(b"\xff")
    assert len(read(whole + batch_of(b"cut", first=1)[:-3])) == 1
    records = FetchedRecords(whole[:-3])
    assert not records.has_next()
    assert records.size_in_bytes() == len(whole) - 3


def test_batch_that_is_broken_otherwise_is_still_an_error() -> None:
    batch = bytearray(batch_of(b"\xff"))
    batch[-1] ^= 1
    with pytest.raises(CorruptRecordException, match="CRC"):
        read(bytes(batch))


def test_transactions_are_read_past_their_markers_and_without_what_was_aborted() -> None:
    data = (
        transaction_of(b"kept", first=0)
        + marker(commits=True, first=1)
        + transaction_of(b"aborted", b"too", first=2)
        + marker(commits=False, first=4)
        + transaction_of(b"kept as well", first=5)
        + marker(commits=True, first=6)
        + batch_of(b"plain", first=7)
    )
    assert read(data, [(PRODUCER, 2)]) == [(0, b"kept", "name"), (5, b"kept as well", "name"), (7, b"value-0", "plain")]


def test_record_says_which_it_follows_also_from_one_fetch_to_the_next() -> None:
    place = TopicPartition("track-analysis", 9)

    def follows(offset: int, *batches: bytes) -> list[tuple[int, int]]:
        records = fetcher.PartitionRecords(
            place, fetcher.MemoryRecords(b"".join(batches)), [], offset, None, None, True, fetcher.READ_COMMITTED
        )
        return [(record.checksum, record.offset) for record in records]

    kept, behind = transaction_of(b"kept", first=5), marker(commits=True, first=6)
    assert follows(4, marker(commits=True, first=4), kept) == [(4, 5)]
    # A marker at the end of one fetch, alone in the next, and then a record.
    assert follows(6, behind) == []
    assert follows(7, marker(commits=True, first=7)) == []
    assert follows(8, batch_of(b"plain", b"plain", first=8)) == [(6, 8), (9, 9)]
    # Where the reader was told to go, it begins there.
    assert follows(5, kept, behind) == [(5, 5)]
    assert follows(8, batch_of(b"plain", first=8)) == [(8, 8)]
