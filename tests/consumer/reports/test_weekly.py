"""The week: numbers computed by hand, what is missing, and when a retrain is due."""

import re
from typing import Any

import pytest

from consumer.events import EmotionLabel
from consumer.reports import weekly
from consumer.reports.labels import from_answers, from_recording
from consumer.reports.page import render
from consumer.reports.recording import Recording
from consumer.reports.retrain import retrain_signs
from consumer.reports.share import Share
from tests.consumer.reports.made_up import UNTIL, answers, feedback, play

HOSTILE = "</svg><script>document.title='broken in'</script>&\"'"


def week(**series: Any) -> Any:
    return answers(weekly.QUESTIONS, weekly.DAYS, **series)


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.replace("\u00a0", " ")))


def cells(page: str, first: str) -> list[str]:
    row = next(row for row in page.split("<tr>") if f">{first}</td>" in row)
    return [cell.replace("\u00a0", " ") for cell in re.findall(r"<td[^>]*>([^<]*)</td>", row)]


def test_week_golden_numbers() -> None:
    latency = [
        ({"lane": "new", "le": le}, [10.0 * n, n])
        for le, n in (("1.0", 4.0), ("60.0", 9.0), ("120.0", 10.0), ("+Inf", 10.0))
    ]
    page = render(
        weekly.build(
            week(
                coverage=[({}, [144.0] * 2)],
                latency=latency,
                consumed=[({"lane": "known"}, [1000.0, 100.0]), ({"lane": "new"}, [100.0, 10.0])],
                late=[({"lane": "new"}, [10.0, 1.0])],
                dead=[({"reason": "decode"}, [10.0, 1.0]), ({"reason": "timeout"}, [0.0, 0.0])],
                peak=[({}, [5.0, 2.5])],
            ),
            Recording(),
            {},
        ),
        "somewhere",
    )
    # 110 answers, 99 within the minute. The median is the 55th: 11 beyond the 44 of the first bucket, of the 55 between
    # 1 and 60 s. The 104.5th and the 108.9th are 5.5 and 9.9 of the last 11, between 60 and 120 s.
    assert cells(page, "new") == ["new", "110", "90.00 %", "12.8 s", "90 s", "114 s", "11"]
    assert cells(page, "known")[1:] == ["not measured"] * 6
    assert cells(page, "decode") == ["decode", "11", "1.000 %", "the track&#39;s or event&#39;s"]
    assert ">timeout</td>" not in page
    assert cells(page, "highest rate over five minutes, events/s")[1] == "5.00"
    # Two days of seven.
    assert "measured for 29 % of the period" in text_of(page)
    # A tenth was late where a hundredth may be.
    assert "this week used 1000 %" in text_of(page)


def test_week_without_anything_says_so_and_gives_no_number() -> None:
    page = weekly.build(week(), Recording(), {})
    assert page.covered is None
    assert [card.value for card in page.cards] == ["not measured"] * 4 + ["not all known"]
    text = text_of(render(page, "somewhere"))
    for said in ("No worker was measured", "Dead letters were not measured", "accuracy and F1 are not known"):
        assert said in text
    assert not re.search(r"\bNone\b|\bnan\b|\binf\b", text)


def test_week_hostile_labels_stay_text() -> None:
    page = weekly.build(
        week(
            dead=[({"reason": HOSTILE}, [5.0])],
            consumed=[({"lane": "known"}, [10.0])],
            psi=[({"feature": HOSTILE}, [0.4])],
            model=[({"version": HOSTILE}, [1.0])],
        ),
        Recording(notes=[HOSTILE]),
        {},
    )
    html = render(page, HOSTILE)
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_week_refers_to_no_other_file_or_host() -> None:
    page = render(weekly.build(week(), Recording(), {}), "somewhere")
    assert not re.search(r"https?://|src=|<link|@import|url\(", page)


def test_within_objective_never_exceeds_all() -> None:
    # Prometheus extrapolates each bucket by itself.
    buckets = [({"lane": "known", "le": "60.0"}, [10.1]), ({"lane": "known", "le": "+Inf"}, [10.0])]
    assert weekly.within_objective(week(latency=buckets)) == Share(10.0, 10.0)


def test_labels_from_answers_need_corrections() -> None:
    f1 = [
        ({"emotion": name}, [value]) for name, value in (("relax", 0.8), ("happy", 0.9), ("sad", 0.5), ("angry", 0.6))
    ]
    labels = from_answers(week(labels=[({}, [40.0])], accuracy=[({}, [0.75])], f1=f1))
    assert labels is not None
    assert labels.accuracy == Share(30.0, 40.0)
    assert labels.macro_f1 == pytest.approx(0.7)
    assert from_answers(week(labels=[({}, [0.0])])) is None


def test_labels_one_emotion_missing_no_macro_f1() -> None:
    labels = from_answers(week(labels=[({}, [4.0])], accuracy=[({}, [0.5])], f1=[({"emotion": "sad"}, [0.5])]))
    assert labels is not None
    assert labels.macro_f1 is None


def test_labels_from_recording_by_hand() -> None:
    truth: list[EmotionLabel] = ["happy", "happy", "sad", "angry", "relax"]
    said: list[EmotionLabel] = ["happy", "sad", "sad", "angry", "relax"]
    plays = [play(i, emotion=emotion) for i, emotion in enumerate(said)]
    marks = [feedback(i, "label", emotion) for i, emotion in enumerate(truth)]
    labels = from_recording(Recording(plays, marks, {one.event_id: one for one in plays}))
    assert labels is not None
    assert labels.accuracy == Share(4, 5)
    # happy: 2 · 1 / (1 + 2); sad: 2 · 1 / (2 + 1).
    assert labels.f1 == pytest.approx({"relax": 1.0, "happy": 2 / 3, "sad": 2 / 3, "angry": 1.0})
    assert labels.macro_f1 == pytest.approx(5 / 6)
    assert labels.macro_f1_interval is not None
    assert labels.macro_f1_interval[0] < 5 / 6 <= labels.macro_f1_interval[1]


@pytest.mark.parametrize(
    ("series", "due"),
    [
        ({}, [None, None, None, None]),
        ({"trained": [({}, [UNTIL.timestamp() - 91 * 86_400])]}, [True, None, None, None]),
        ({"trained": [({}, [UNTIL.timestamp() - 89 * 86_400])]}, [False, None, None, None]),
        ({"psi": [({"feature": str(i)}, [0.26]) for i in range(5)]}, [None, True, None, None]),
        ({"psi": [({"feature": str(i)}, [0.26]) for i in range(4)]}, [None, False, None, None]),
        ({"prediction_psi": [({}, [0.3])]}, [None, None, True, None]),
    ],
)
def test_retrain_signs_by_limit(series: dict[str, Any], due: list[bool | None]) -> None:
    assert [sign.due for sign in retrain_signs(week(**series), None, {})] == due


@pytest.mark.parametrize(
    ("f1", "labels", "registry", "due"),
    [
        (0.74, 50.0, {"v1": 0.8}, True),
        (0.76, 50.0, {"v1": 0.8}, False),
        (0.5, 49.0, {"v1": 0.8}, None),
        (0.5, 50.0, {}, None),
    ],
)
def test_retrain_sign_of_f1_needs_labels_and_the_model_in_use(
    f1: float, labels: float, registry: dict[str, float], due: bool | None
) -> None:
    series = week(
        labels=[({}, [labels])],
        accuracy=[({}, [0.7])],
        f1=[({"emotion": name}, [f1]) for name in ("relax", "happy", "sad", "angry")],
        model=[({"version": "v1"}, [1.0])],
    )
    assert retrain_signs(series, from_answers(series), registry)[-1].due is due
