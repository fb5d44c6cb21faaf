import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.events import DecisionLabel, EmotionEvent, EmotionLabel
from deploy.demo.playlist.mood import TARGETS, Mood, arrange, suggest_next
from tests.deploy.demo.emotions import emotion_event

RELAX, HAPPY, SAD, ANGRY = (TARGETS[emotion] for emotion in ("relax", "happy", "sad", "angry"))


def judged(*rows: tuple[str, EmotionLabel, DecisionLabel]) -> dict[str, EmotionEvent]:
    return {track: emotion_event(track, emotion, playlist=decision) for track, emotion, decision in rows}


def test_mood_half_way_lies_between() -> None:
    assert SAD.towards(HAPPY, 0.5) == Mood(0.0, 0.0)
    assert SAD.distance(HAPPY) == pytest.approx(2**0.5)


def test_arrange_apply_tracks_lead_to_the_target() -> None:
    tracks = judged(("a", "angry", "apply"), ("s", "sad", "apply"), ("h", "happy", "apply"))
    assert arrange(["a", "s", "h"], tracks, HAPPY, HAPPY) == ["h", "a", "s"]


def test_arrange_starts_near_the_listener_and_ends_at_the_target() -> None:
    tracks = judged(("r1", "relax", "apply"), ("r2", "relax", "apply"), ("s1", "sad", "apply"), ("s2", "sad", "apply"))
    assert arrange(["r1", "r2", "s1", "s2"], tracks, SAD, RELAX) == ["s1", "r1", "r2", "s2"]


@pytest.mark.parametrize("decision", ["suggest", "withhold"])
def test_arrange_uncertain_track_keeps_its_place(decision: DecisionLabel) -> None:
    tracks = judged(("a", "angry", "apply"), ("x", "happy", decision), ("h", "happy", "apply"))
    assert arrange(["a", "x", "h"], tracks, HAPPY, HAPPY) == ["h", "x", "a"]


def test_arrange_unknown_track_keeps_its_place() -> None:
    tracks = judged(("a", "angry", "apply"), ("h", "happy", "apply"))
    assert arrange(["new", "a", "h"], tracks, HAPPY, HAPPY) == ["new", "h", "a"]


def test_arrange_equally_near_tracks_keep_their_order() -> None:
    tracks = judged(*((name, "happy", "apply") for name in ("c", "a", "b")))
    assert arrange(["c", "a", "b"], tracks, HAPPY, HAPPY) == ["c", "a", "b"]


@given(
    st.lists(
        st.tuples(st.sampled_from(list(TARGETS)), st.sampled_from(["apply", "suggest", "withhold", "unknown"])),
        max_size=12,
    ),
    st.sampled_from(list(TARGETS.values())),
    st.sampled_from(list(TARGETS.values())),
)
def test_arrange_any_queue_is_a_permutation_that_pins_what_is_not_sure(
    rows: list[tuple[EmotionLabel, str]], start: Mood, target: Mood
) -> None:
    queue = [str(index) for index in range(len(rows))]
    tracks = {
        track: emotion_event(track, emotion, playlist=decision)  # type: ignore[arg-type]  # drawn from the literals
        for track, (emotion, decision) in zip(queue, rows, strict=True)
        if decision != "unknown"
    }
    arranged = arrange(queue, tracks, start, target)
    assert sorted(arranged) == sorted(queue)
    for track, (_, decision), place in zip(queue, rows, range(len(queue)), strict=True):
        if decision != "apply":
            assert arranged[place] == track


def test_suggest_next_better_uncertain_track_is_offered() -> None:
    tracks = judged(("a", "angry", "apply"), ("s", "happy", "suggest"), ("w", "happy", "withhold"))
    assert suggest_next(["a", "w", "s"], tracks, HAPPY, HAPPY) == "s"


def test_suggest_next_nothing_better_offers_nothing() -> None:
    tracks = judged(("h", "happy", "apply"), ("s", "happy", "suggest"))
    assert suggest_next(["h", "s"], tracks, HAPPY, HAPPY) is None


def test_suggest_next_withheld_track_is_never_offered() -> None:
    tracks = judged(("a", "angry", "apply"), ("w", "happy", "withhold"))
    assert suggest_next(["a", "w"], tracks, HAPPY, HAPPY) is None
