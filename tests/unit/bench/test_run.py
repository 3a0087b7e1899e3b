"""The benchmark: both sides handle the same rows, times include all work, and verdicts follow the goals."""

import asyncio
import io
import sqlite3
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from firsthour.bench import fixtures, paging, pipeline, profile, rules, run
from firsthour.bench.fixtures import furnish
from firsthour.bench.http_client import LoadRefusedError, OpenLoop, closed_loop
from firsthour.bench.lines import BenchLine, line, percentile
from firsthour.bench.paging import Load, PagedProgram
from firsthour.bench.recorder import RecordedUnit, by_worker
from firsthour.bench.samples import Samples
from firsthour.bench.server_process import server_process
from firsthour.bench.stages import ANSWERED, CARRIED, CHECKED, COMMITTED, HANDED_OVER, STAGES, WHOLE
from firsthour.bench.systems import cpu_seconds
from firsthour.kernel.conditions.evaluation import compile_set, trace_set
from firsthour.runtime.clock import HostClock
from firsthour.runtime.config import source_secrets
from firsthour.runtime.config.reading import load
from firsthour.runtime.settings import SettingsError

pytestmark = pytest.mark.slow

# --- lines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("better", "value", "ok"),
    [("lower", 5.0, True), ("lower", 5.1, False), ("higher", 5.0, True), ("higher", 4.9, False)],
)
def test_verdict_follows_the_goal(better: str, value: float, ok: bool) -> None:
    assert line("x", [value], "ms", goal=5.0, better=better).ok is ok  # type: ignore[arg-type]  # one of two words


def test_line_has_the_median_and_the_spread() -> None:
    median = line("x", [3.0, 1.0, 9.0], "ms")
    assert (median.value, median.spread, median.ok) == (3.0, (1.0, 9.0), None)


def test_percentiles_are_measured_values() -> None:
    values = [float(n) for n in range(1, 101)]
    assert percentile(values, 0.50) == 51.0
    assert percentile(values, 0.99) == 100.0
    assert percentile([7.0], 0.99) == 7.0


# --- fixtures --------------------------------------------------------------------------------------------------


def test_signed_source_of_the_bench_has_a_usable_secret(tmp_path: Path) -> None:
    secrets = source_secrets.examine(load(furnish(tmp_path) / "config"), {})
    assert (secrets.errors, secrets.warnings) == ((), ())


def test_configuration_of_the_bench_is_valid(tmp_path: Path) -> None:
    config = load(furnish(tmp_path) / "config")
    assert len(config.team.reps) == fixtures.REPS
    assert config.agreement.response.budget is None


def test_every_fifth_event_is_a_demo_request() -> None:
    rows = list(fixtures.events(50, HostClock().real(), readers=10))
    assert sum(b"form.submitted" in row.body for row in rows) == 10
    assert len({row.event_id for row in rows}) == 50
    assert 500 < sum(len(row.body) for row in rows) / 50 < 1_500


def test_fifty_conditions_give_the_same_result_hot_and_traced() -> None:
    nodes = rules.conditions()
    assert len(nodes) == 50
    hot, traced = compile_set(nodes), trace_set(nodes)
    for facts in rules.people(40):
        assert hot(facts) == tuple(n for n, seen in enumerate(traced(facts)) if seen.held)


# --- the bare loop ------------------------------------------------------------------------------------------------


def _rows(file: Path) -> dict[str, int]:
    with sqlite3.connect(file) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}


def test_bare_loop_leaves_the_same_rows_as_the_product(tmp_path: Path) -> None:
    work = pipeline.PipelineBench(tmp_path, 1_000)
    work.prepare()
    work.real()
    real, share = _rows(tmp_path / "work" / pipeline.FILE), work.assigned_share()
    for reads in (True, False):
        work.bare(reads=reads)
        assert _rows(tmp_path / "work" / pipeline.FILE) == real
        assert share == work.assigned_share() == 0.2
    assert work.units > 2


def _unit(*places: tuple[str, int]) -> RecordedUnit:
    return RecordedUnit("scoring", dict.fromkeys(places, 1), [], set())


def test_units_that_share_a_partition_belong_to_one_worker() -> None:
    units = [_unit(("a", 0), ("a", 1)), _unit(("a", 2)), _unit(("a", 1), ("a", 3)), _unit(("a", 3)), _unit(("b", 0))]
    assert sorted(by_worker(units), key=len) == [[units[1]], [units[4]], [units[0], units[2], units[3]]]


def test_samples_are_shares_that_add_up_to_one() -> None:
    samples = Samples()
    samples.begin()
    start = cpu_seconds()
    while cpu_seconds() < start + 0.1:
        fixtures.hook_request(1)
    shares = samples.end()
    assert sum(shares.values()) == pytest.approx(1.0)


def test_stages_of_a_lead_add_up_to_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "STAGE_RATES", (20.0,))
    monkeypatch.setattr(profile, "PAGE_SECONDS", 1.0)
    monkeypatch.setattr(paging, "WARM_SECONDS", 0.2)
    monkeypatch.setattr(paging, "REST_SECONDS", 0.1)
    lines = {one.name.removeprefix("at 20/s: "): one.value for one in profile.stages(tmp_path)}
    assert list(lines) == list(STAGES)
    assert min(lines.values()) > 0.0
    parts = sum(lines[stage] for stage in (CHECKED, HANDED_OVER, CARRIED, COMMITTED, ANSWERED))
    assert lines[WHOLE] / 2 < parts < lines[WHOLE] * 2  # medians


def test_option_only_selects_by_a_part_of_the_title(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run, "measurements", _two)
    file = tmp_path / "result.json"
    for only, lines in (("miss", 1), ("ANOTHER", 0)):
        run.run(only=only, json=str(file), console=Console(file=io.StringIO()), directory=tmp_path)
        assert len(msgspec.json.decode(file.read_bytes())["lines"]) == lines
    with pytest.raises(
        SettingsError, match="--only else: no title contains this; name a part of one: Missing, Another"
    ):
        run.run(only="else")


# --- the client ---------------------------------------------------------------------------------------------------


def test_every_page_is_measured_from_its_scheduled_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WARM_SECONDS": 0.1, "REST_SECONDS": 0.0, "ROUNDS": 1}.items():
        monkeypatch.setattr(paging, name, value)
    lines = paging.pages(tmp_path, load=Load(12, 20, 1))
    by_name = {line.name: line for line in lines}
    page, ratio = (by_name[f"form to Slack at 20/s, pool of 12, p50{end}"] for end in ("", ", of the minimum program"))
    assert page.note == "20 pages in 1 rounds"
    assert (page.value, ratio.value) > (0, 1)
    assert by_name["CPU of a lead at 20/s, pool of 12, of the minimum program"].value > 1


def test_most_leads_are_all_paged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "WARM_SECONDS": 0.1,
        "REST_SECONDS": 0.0,
        "ROUNDS": 1,
        "MOST_LEADS": 40,
        "SYNC_SECONDS": 1,
    }.items():
        monkeypatch.setattr(paging, name, value)
    most, ratio, *_ = paging.most(tmp_path)
    assert most.value > 0
    assert 0 < ratio.value < 1


def test_server_that_refuses_requests_is_an_error(tmp_path: Path) -> None:
    wrong = fixtures.request("/v1/events", b"{}", {"Authorization": "Bearer nobody"})
    with server_process(furnish(tmp_path), ("gateway",)) as server:
        with pytest.raises(LoadRefusedError, match="401"):
            asyncio.run(closed_loop(server.port, [wrong]))
        load = OpenLoop([wrong], [HostClock().monotonic()])
        with pytest.raises(LoadRefusedError, match="401"):
            asyncio.run(load.send(server.port))


def test_p99_says_how_late_the_client_itself_was() -> None:
    product, least = [
        PagedProgram(0, lambda: 0.0, page=[[2.0]], acked=[[1.0]], cpu_ms=[1.0], late=[[0.1, 3.04]]) for _ in range(2)
    ]
    lines = paging.page_lines(Load(12, 5, 1), product, least, None, None)
    assert {one.name: one.note for one in lines}["form to Slack at 5/s, pool of 12, p99"] == (
        "the client sent late by 3.0 ms (p99)"
    )


# --- the result ----------------------------------------------------------------------------------------------------


def _result(ok: bool | None) -> run.BenchResult:
    return run.BenchResult("1", "3.11", "here", [BenchLine("speed", 2.0, "ms", 1.0, ok, (1.0, 3.0), "a note")], cores=2)


@pytest.mark.parametrize(("ok", "word"), [(True, "reached"), (False, "missed")])
def test_table_shows_value_goal_and_verdict(ok: bool, word: str) -> None:
    printed = io.StringIO()
    Console(file=printed, width=120).print(run.table(_result(ok)))
    assert all(part in printed.getvalue() for part in ("speed", "a note", "2", "1 to 3", word, "embedded, 2 cores"))


@pytest.mark.parametrize(("strict", "expected"), [(False, 0), (True, 1)])
def test_missed_goal_fails_only_with_the_option_strict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, strict: bool, expected: int
) -> None:
    monkeypatch.setattr(run, "measurements", _one_that_misses)
    file = tmp_path / "result.json"
    code = run.run(json=str(file), strict=strict, console=Console(file=io.StringIO()), directory=tmp_path)
    assert code == expected
    result = msgspec.json.decode(file.read_bytes())
    assert set(result) == {"version", "python", "platform", "lines", "over", "cores"}
    assert result["lines"][0]["ok"] is False


def _two(*, full: bool) -> list[run.Measurement]:
    return [*_one_that_misses(full=full), run.Measurement("Another", 0.1, _nothing)]


def _nothing(home: Path) -> list[BenchLine]:
    return []


def _one_that_misses(*, full: bool) -> list[run.Measurement]:
    return [run.Measurement("Missing", 0.1, _missed)]


def _missed(home: Path) -> list[BenchLine]:
    return [line("x", [2.0], "ms", goal=1.0)]
