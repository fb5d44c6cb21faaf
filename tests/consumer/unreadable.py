"""Messages with a header whose name is not UTF-8, which no Python client produces."""

import ctypes
from typing import Any, Final

from confluent_kafka import cimpl

_PRODUCER: Final = 0
_TOPIC, _PARTITION, _VALUE, _MSGFLAGS, _HEADERS = 1, 3, 4, 7, 10
_COPY: Final = 2


class _Pointer(ctypes.Structure):
    _fields_ = (("pointer", ctypes.c_char_p), ("size", ctypes.c_size_t))


class _Union(ctypes.Union):
    _fields_ = (
        ("text", ctypes.c_char_p),
        ("number", ctypes.c_int),
        ("partition", ctypes.c_int32),
        ("memory", _Pointer),
        ("headers", ctypes.c_void_p),
        ("padding", ctypes.c_char * 64),
    )


class _Argument(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_int), ("u", _Union))


def produce_unreadable(bootstrap: str, topic: str, value: bytes, *, partition: int = 0) -> None:
    """Produce one message with a header whose name ends in 0xff, by librdkafka itself (``rd_kafka_produceva``).

    Parameters
    ----------
    bootstrap : str
        Brokers.
    topic, value, partition : str, bytes, int
        The message.
    """
    library = ctypes.CDLL(cimpl.__file__)
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for name, result, arguments in (
        ("rd_kafka_conf_new", pointer, []),
        ("rd_kafka_conf_set", number, [pointer, text, text, text, ctypes.c_size_t]),
        ("rd_kafka_new", pointer, [number, pointer, text, ctypes.c_size_t]),
        ("rd_kafka_headers_new", pointer, [ctypes.c_size_t]),
        ("rd_kafka_header_add", number, [pointer, text, ctypes.c_ssize_t, text, ctypes.c_ssize_t]),
        ("rd_kafka_produceva", pointer, [pointer, pointer, ctypes.c_size_t]),
        ("rd_kafka_flush", number, [pointer, number]),
        ("rd_kafka_destroy", None, [pointer]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    configuration = library.rd_kafka_conf_new()
    library.rd_kafka_conf_set(configuration, b"bootstrap.servers", bootstrap.encode(), None, 0)
    client = library.rd_kafka_new(_PRODUCER, configuration, None, 0)
    headers = library.rd_kafka_headers_new(1)
    library.rd_kafka_header_add(headers, b"a\xff", 2, b"1", 1)
    said: list[tuple[int, str, Any]] = [
        (_TOPIC, "text", topic.encode()),
        (_PARTITION, "partition", partition),
        (_VALUE, "memory", _Pointer(value, len(value))),
        (_MSGFLAGS, "number", _COPY),
        (_HEADERS, "headers", headers),
    ]
    message = (_Argument * len(said))()
    for argument, (kind, field, content) in zip(message, said, strict=True):
        argument.kind = kind
        setattr(argument.u, field, content)
    try:
        assert library.rd_kafka_produceva(client, ctypes.byref(message), len(said)) is None, "refused"
        assert library.rd_kafka_flush(client, 30_000) == 0, "not acknowledged"
    finally:
        library.rd_kafka_destroy(client)
