"""Acknowledgements are in order, complete, and never ahead of an unfinished event."""

from hypothesis import given
from hypothesis import strategies as st

from consumer.acknowledgement import AcknowledgementOrder

Order = AcknowledgementOrder[int, int]


def started(*offsets: int) -> Order:
    order: Order = AcknowledgementOrder()
    for offset in offsets:
        order.begin(0, offset, offset)
    return order


def test_finish_first_event_acknowledges_it() -> None:
    assert started(5, 6).finish(0, 5) == [5]


def test_finish_behind_unfinished_event_acknowledges_nothing() -> None:
    assert started(5, 6).finish(0, 6) == []


def test_finish_closing_a_gap_acknowledges_everything_behind_it_in_order() -> None:
    order = started(5, 6, 9)
    order.finish(0, 9)
    order.finish(0, 6)
    assert order.finish(0, 5) == [5, 6, 9]
    assert len(order) == 0


def test_finish_twice_acknowledges_once() -> None:
    order = started(5)
    assert order.finish(0, 5) == [5]
    assert order.finish(0, 5) == []


def test_begin_offset_delivered_twice_is_refused() -> None:
    order = started(5, 6)
    assert not order.begin(0, 5, 5)
    assert not order.begin(0, 6, 6)
    assert len(order) == 2


def test_revoke_forgets_events_and_their_late_outcomes() -> None:
    order = started(5, 6)
    order.begin(1, 5, 15)
    order.revoke([0])
    assert order.finish(0, 5) == []
    assert order.finish(1, 5) == [15]


def test_revoked_offsets_may_begin_again() -> None:
    order = started(5, 6)
    order.finish(0, 6)
    order.revoke([0])
    assert order.begin(0, 5, 105)
    assert order.finish(0, 5) == [105]


def test_must_finish_only_what_a_finished_event_waits_for() -> None:
    order = started(1, 2, 3)
    assert not order.has_gaps
    order.finish(0, 2)
    assert order.has_gaps
    assert order.must_finish(0, 1)
    assert not order.must_finish(0, 2)
    assert not order.must_finish(0, 3)
    order.finish(0, 1)
    assert not order.has_gaps


@given(st.lists(st.integers(0, 3), max_size=40), st.randoms(use_true_random=False))
def test_any_order_of_finishing_acknowledges_prefixes_only(partitions: list[int], random: object) -> None:
    order: AcknowledgementOrder[int, tuple[int, int]] = AcknowledgementOrder()
    begun: dict[int, list[int]] = {}
    for offset, partition in enumerate(partitions):
        order.begin(partition, offset, (partition, offset))
        begun.setdefault(partition, []).append(offset)
    events = [(partition, offset) for partition, offsets in begun.items() for offset in offsets]
    random.shuffle(events)  # type: ignore[attr-defined]  # hypothesis gives a Random
    finished: set[tuple[int, int]] = set()
    acknowledged: dict[int, list[int]] = {partition: [] for partition in begun}
    for partition, offset in events:
        finished.add((partition, offset))
        for token in order.finish(partition, offset):
            acknowledged[token[0]].append(token[1])
        for number, offsets in acknowledged.items():
            assert offsets == begun[number][: len(offsets)], "acknowledged out of order or past a gap"
            assert all((number, one) in finished for one in offsets), "acknowledged an unfinished event"
            assert order.has_gaps == any(
                (other, one) in finished for other in begun for one in begun[other][len(acknowledged[other]) :]
            )
    assert acknowledged == begun
    assert len(order) == 0
