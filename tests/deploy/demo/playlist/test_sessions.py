from consumer.events import EmotionLabel
from deploy.demo.playlist.mood import TARGETS, Mood
from deploy.demo.playlist.sessions import Reaction, Sessions
from tests.deploy.demo.emotions import emotion_event, play


def catalogue(**emotions: EmotionLabel) -> Sessions:
    sessions = Sessions()
    for track_id, emotion in emotions.items():
        sessions.hear(emotion_event(track_id, emotion))
    return sessions


def test_start_known_tracks_are_put_in_order_at_once() -> None:
    sessions = catalogue(a="angry", h="happy")
    change = sessions.start("anna", "happy", ["a", "h"])
    assert change is not None
    assert (change.before, change.after) == (("a", "h"), ("h", "a"))
    assert sessions.queue("anna") == ("h", "a")


def test_start_repeated_track_is_queued_once() -> None:
    sessions = Sessions()
    sessions.start("anna", "happy", ["x", "y", "x"])
    assert sessions.queue("anna") == ("x", "y")


def test_start_again_keeps_the_trajectory() -> None:
    sessions = catalogue(h="happy")
    sessions.start("anna", "happy", ["h"])
    sessions.hear(play("h", "anna"))
    sessions.start("anna", "sad", ["h"])
    assert sessions.trajectory("anna") == (TARGETS["happy"],)


def test_hear_same_event_id_twice_changes_nothing() -> None:
    sessions = catalogue(a="angry", h="happy", r="relax")
    sessions.start("anna", "happy", ["a", "h", "r"])
    sessions.hear(play("h", "anna"))
    queue, trajectory = sessions.queue("anna"), sessions.trajectory("anna")
    assert sessions.hear(play("h", "anna")) == Reaction()
    assert (sessions.queue("anna"), sessions.trajectory("anna")) == (queue, trajectory)


def test_hear_play_takes_the_track_off_the_queue_and_moves_the_mood() -> None:
    sessions = catalogue(h="happy", s="sad")
    sessions.start("anna", "happy", ["h", "s"])
    sessions.hear(play("h", "anna", "happy"))
    sessions.hear(play("s", "anna", "sad"))
    assert sessions.queue("anna") == ()
    assert sessions.trajectory("anna") == (TARGETS["happy"], Mood(0.0, 0.0))


def test_hear_withheld_play_leaves_the_mood_alone() -> None:
    sessions = Sessions()
    sessions.hear(play("h", "anna", playlist="withhold"))
    assert sessions.trajectory("anna") == ()


def test_hear_upload_reorders_the_queue_that_holds_the_track() -> None:
    sessions = catalogue(a="angry")
    sessions.start("anna", "happy", ["a", "h"])
    sessions.start("bora", "happy", ["a"])
    reaction = sessions.hear(emotion_event("h", "happy"))
    assert [(change.session_id, change.after) for change in reaction.changes] == [("anna", ("h", "a"))]


def test_hear_unannounced_session_gets_the_tracks_heard_so_far() -> None:
    sessions = catalogue(a="angry", r="relax")
    sessions.hear(play("h", "carl"))
    assert sorted(sessions.queue("carl")) == ["a", "r"]


def test_hear_play_without_session_only_teaches_the_track() -> None:
    sessions = Sessions()
    assert sessions.hear(emotion_event("h", event_type="track_played")) == Reaction()


def test_feedback_first_place_taken_is_accepted() -> None:
    sessions = catalogue(a="angry", h="happy")
    sessions.start("anna", "happy", ["a", "h"])
    (feedback,) = sessions.hear(play("h", "anna")).feedback
    judgement = emotion_event("h")
    assert (feedback.kind, feedback.track_id) == ("accepted", "h")
    assert feedback.emotion_event_id == judgement.event_id


def test_feedback_other_track_played_is_skipped() -> None:
    sessions = catalogue(a="angry", h="happy")
    sessions.start("anna", "happy", ["a", "h"])
    (feedback,) = sessions.hear(play("a", "anna", "angry")).feedback
    assert (feedback.kind, feedback.track_id) == ("skipped", "h")


def test_feedback_suggestion_taken_is_accepted_and_one_not_taken_says_nothing() -> None:
    sessions = Sessions()
    sessions.hear(emotion_event("s", "happy", playlist="suggest"))
    sessions.start("anna", "happy", ["unknown", "s"])
    sessions.start("bora", "happy", ["unknown", "s"])
    (taken,) = sessions.hear(play("s", "anna", playlist="suggest")).feedback
    assert (taken.kind, taken.track_id) == ("accepted", "s")
    assert sessions.hear(play("unknown", "bora", "sad")).feedback == ()


def test_feedback_delivered_again_after_a_restart_has_the_same_id() -> None:
    ids = []
    for _ in range(2):
        sessions = catalogue(a="angry", h="happy")
        sessions.start("anna", "happy", ["a", "h"])
        ids.append(sessions.hear(play("h", "anna")).feedback[0].event_id)
    assert ids[0] == ids[1]


def test_suggestion_is_announced_once() -> None:
    sessions = Sessions()
    sessions.hear(emotion_event("s", "happy", playlist="suggest"))
    change = sessions.start("anna", "happy", ["u1", "u2", "s"])
    assert change is not None and change.suggestion == "s" and change.before == change.after
    assert sessions.hear(play("u1", "anna", "happy", playlist="withhold")).changes == ()


def test_memory_is_bounded() -> None:
    sessions = Sessions(max_sessions=2, max_tracks=3, max_event_ids=4)
    for index in range(10):
        sessions.hear(play(f"t{index}", f"s{index}"))
    assert sessions.queue("s0") == ()
    assert sorted(sessions.queue("s9")) == ["t7", "t8"]
    assert sessions.hear(play("t9", "s9")) == Reaction()
