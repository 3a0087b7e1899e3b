"""The shapes of charts."""

from datetime import UTC, datetime, timedelta

from services.console.charts import HEIGHT, WIDTH, columns, lines, marks, shades

START = datetime(2026, 12, 1, tzinfo=UTC)


def test_highest_value_reaches_the_top_and_zero_the_axis() -> None:
    (line,), top = lines([("new", [0.0, 4.0, 2.0])])
    assert top == 4.0
    assert line.points == f"0.0,{HEIGHT:.1f} {WIDTH / 2:.1f},0.0 {WIDTH:.1f},{HEIGHT / 2:.1f}"


def test_single_bucket_is_a_level_line() -> None:
    (line,), _ = lines([("new", [3.0])])
    assert line.points == f"0.0,0.0 {WIDTH:.1f},0.0"


def test_chart_without_values_stays_on_the_axis() -> None:
    (line,), top = lines([("new", [0.0, 0.0])])
    assert top == 1
    assert line.points == f"0.0,{HEIGHT:.1f} {WIDTH:.1f},{HEIGHT:.1f}"


def test_column_is_as_high_as_its_share_of_the_top() -> None:
    first, second = columns([5.0, 0.0], 10.0, share=0.5, offset=0.25)
    assert first == (WIDTH / 8, HEIGHT / 2, WIDTH / 4, HEIGHT / 2)
    assert (second.height, second.y) == (0, HEIGHT)


def test_marks_stay_within_the_chart() -> None:
    times = [START + timedelta(days=n) for n in (-1, 0, 5, 10, 12)]
    assert marks(times, [START, START + timedelta(days=10)], START + timedelta(days=20)) == [
        0,
        0,
        WIDTH / 2,
        WIDTH,
        WIDTH,
    ]
    assert marks([START], [START], START + timedelta(days=1)) == [0]


def test_mark_lies_between_the_points_of_its_buckets_however_long_these_are() -> None:
    begins = [START, START + timedelta(days=1), START + timedelta(days=8)]  # of a period that begins within a week
    times = [START + timedelta(days=n) for n in (0.5, 1, 4.5)]
    assert marks(times, begins, START + timedelta(days=15)) == [WIDTH / 4, WIDTH / 2, WIDTH * 3 / 4]


def test_shades_surround_the_marked_points_and_stay_within_the_chart() -> None:
    assert shades([True, False, False, False, True]) == [(0.0, 80.0), (560.0, 80.0)]
    assert shades([True]) == [(0.0, 640.0)]
    assert shades([]) == []
