"""The shapes of charts."""

from services.console.charts import HEIGHT, WIDTH, lines


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
