"""Re-analyses after a model change are few, and not of the same track again and again."""

from consumer.refresh import RefreshBudget


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_take_gives_the_rate_and_no_more() -> None:
    clock = Clock()
    budget = RefreshBudget(5.0, clock)
    assert sum(budget.take(f"t-{number}") for number in range(100)) == 5
    taken = 0
    for step in range(1280):
        clock.now += 1 / 128
        taken += budget.take(f"u-{step}")
    assert taken == 50


def test_take_same_track_waits_ten_minutes() -> None:
    clock = Clock()
    budget = RefreshBudget(5.0, clock)
    assert budget.take("t")
    clock.now = 599.0
    assert not budget.take("t")
    clock.now = 601.0
    assert budget.take("t")


def test_take_refused_for_lack_of_tokens_is_not_remembered_as_sent() -> None:
    clock = Clock()
    budget = RefreshBudget(1.0, clock)
    assert budget.take("a")
    assert not budget.take("b")
    clock.now = 1.0
    assert budget.take("b")


def test_take_rate_zero_gives_nothing() -> None:
    assert not RefreshBudget(0.0).take("t")
