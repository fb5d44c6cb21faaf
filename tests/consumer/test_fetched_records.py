"""Headers whose names are no UTF-8, as aiokafka reads them off the wire: no end of the partition."""

import struct

import pytest
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from consumer.faust_consumer import FetchedRecords
from tests.consumer.hostile import HeaderName

CRC_AT, CHECKED_FROM = 17, 21
PLACE = TopicPartition("track-analysis", 0)


def batch_of(*names: bytes, first: int = 0, codec: int = 0) -> bytes:
    """Write one record for each name, as a producer that does not look at them."""
    builder = _DefaultRecordBatchBuilderPy(2, codec, False, -1, -1, -1, 1 << 20)
    for number, name in enumerate(names):
        assert builder.append(number, 1000 + number, b"key", b"value-%d" % number, [(HeaderName(name), b"1")])
    batch = bytearray(builder.build())
    struct.pack_into(">q", batch, 0, first)
    struct.pack_into(">I", batch, CRC_AT, calc_crc32c(bytes(batch[CHECKED_FROM:])))
    return bytes(batch)


def read(data: bytes) -> list[tuple[int, bytes, str]]:
    """Read a fetch as aiokafka does."""
    records = fetcher.PartitionRecords(PLACE, fetcher.MemoryRecords(data), None, 0, None, None, True, 0)
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
