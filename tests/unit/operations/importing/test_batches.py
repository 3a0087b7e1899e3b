"""The import of batches: refused rows, the file of them, and the continuation after a kill at any batch."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthour.operations.importing import position
from firsthour.operations.importing.batches import ROWS_MAX, ImportResult, ListImport
from firsthour.operations.importing.plan import ImportPlan
from firsthour.operations.importing.rejected_rows import RejectedRows, escaped, free_name, unescaped
from tests.unit.operations.importing.lists import FakeInstallation, events, plan, write

HEADER = "email,name,note\n"


def rows(count: int) -> str:
    return HEADER + "".join(f"p{n}@acme.example,Person {n},x\n" for n in range(count))


async def run(made: ImportPlan, installation: FakeInstallation) -> ImportResult:
    """Import a list as the command does, from its stored position."""
    path, start = made.file.path, made.start()
    name = start.rejected_file or free_name(path)
    rejected = RejectedRows(path.with_name(name), made.file.header, made.file.separator, start.rejected_bytes)
    work = ListImport(installation, start, kind=made.kind, file=path, rejected=rejected, rate=1e9)
    try:
        result = await work.run(made.batches(start.rows), lambda line: None)
    finally:
        rejected.close()
    position.remove(path)
    return result


def table(file: Path) -> list[list[str]]:
    with file.open(encoding="utf-8-sig", newline="") as text:
        return list(csv.reader(text))


async def test_rows_are_sent_in_batches(tmp_path: Path) -> None:
    installation = FakeInstallation()
    made = plan(write(tmp_path, rows(2 * ROWS_MAX + 1)))
    assert [len(batch) for batch in made.batches()] == [ROWS_MAX, ROWS_MAX, 1]
    result = await run(made, installation)
    assert (result.accepted, result.rejected, len(installation.ids)) == (401, 0, 401)
    assert sorted(tmp_path.iterdir()) == [made.file.path]


async def test_refused_rows_can_be_corrected_and_imported(tmp_path: Path) -> None:
    installation = FakeInstallation()
    installation.refused["bo@"] = "email is not an email address; correct it"
    file = write(tmp_path, f"{HEADER}ann@acme.example,Ann,x\nbo@,Bo,=cmd()\n,Cy,y\nshort\n")
    result = await run(plan(file), installation)
    assert (result.accepted, result.rejected) == (1, 3)
    assert [row.line for row in result.shown] == [3, 4, 5]

    refused = tmp_path / "leads.rejected.csv"
    header, bo, cy, short = table(refused)
    assert header == ["firsthour_error", "email", "name", "note"]
    assert bo == ["email is not an email address; correct it", "bo@", "Bo", "'=cmd()"]
    assert (cy[1:], short[1:]) == (["", "Cy", "y"], ["short"])
    [faulty, *_] = [row for row in events(refused) if "has no email" not in row]
    refused.write_text(refused.read_text("utf-8-sig").replace("bo@", "bo@acme.example"), "utf-8-sig")
    [corrected] = events(refused)[0]
    assert (corrected["email"], corrected["data"]) == ("bo@acme.example", {"name": "Bo", "custom.note": "=cmd()"})
    assert faulty

    await run(plan(file), installation)
    assert (tmp_path / "leads.rejected-2.csv").exists()


@pytest.mark.parametrize("batches", [0, 1, 2])
async def test_stopped_import_continues_after_the_last_answered_batch(tmp_path: Path, batches: int) -> None:
    installation = FakeInstallation()
    installation.refused = {f"p{n}@acme.example": "no; no" for n in (5, 205, 405)}
    file = write(tmp_path, rows(450))
    installation.fails_after = batches
    with pytest.raises(ConnectionAbortedError):
        await run(plan(file), installation)

    installation.fails_after = None
    result = await run(plan(file), installation)
    assert (result.skipped, result.accepted, result.rejected) == (batches * ROWS_MAX, 447, 3)
    assert (len(installation.rows), len(installation.ids)) == (447, 447)
    assert len(table(tmp_path / "leads.rejected.csv")) == 4


async def test_rejected_rows_of_a_batch_without_a_position_are_written_once(tmp_path: Path) -> None:
    installation = FakeInstallation()
    made = plan(write(tmp_path, rows(300)))
    half = tmp_path / "leads.rejected.csv"
    rejected = RejectedRows(half, made.file.header, ",")
    rejected.add(["a"], "first")
    size = rejected.sync()
    rejected.add(["b"], "written, but its position is not stored")
    rejected.close()
    stored = position.ImportPosition(made.digest, 200, 199, 1, half.name, size)
    position.store(made.file.path, stored)
    installation.refused["p250@acme.example"] = "second"
    assert (await run(made, installation)).rejected == 2
    assert [row[0] for row in table(half)] == ["firsthour_error", "first", "second"]


async def test_position_of_another_plan_is_not_used(tmp_path: Path) -> None:
    file = write(tmp_path, rows(3))
    position.store(file, position.ImportPosition(plan(file).digest, 2))
    assert plan(file).start().rows == 2
    assert plan(file, maps=("title=note",)).start().rows == 0
    assert plan(file, target="elsewhere").start().rows == 0
    position.place_of(file).write_bytes(b"{")
    assert plan(file).start().rows == 0


async def test_batch_without_an_answer_is_sent_again(tmp_path: Path) -> None:
    installation = FakeInstallation()
    installation.silent = 1
    assert (await run(plan(write(tmp_path, rows(3))), installation)).accepted == 3


def test_batch_fits_into_one_request(tmp_path: Path) -> None:
    wide = ",".join(f"c{n}" for n in range(190)) + ",email\n" + ("x," * 190 + "a@b.example\n") * 100
    large = HEADER + f"a@b.example,{'ß' * 9_000},{'€' * 9_000}\n" * 50
    for text in (wide, large):
        for batch in plan(write(tmp_path, text)).batches():
            assert sum(len(item.body) for item in batch) < 250_000
            assert sum(item.body.count(b":") for item in batch) < 10_000


@given(st.text(max_size=40))
def test_escaped_cell_is_no_formula_and_is_read_as_it_was(cell: str) -> None:
    text = escaped(cell)
    assert not text.lstrip().startswith(("=", "+", "-", "@"))
    assert not text.startswith(("\t", "\r", "\0"))
    if "\0" not in cell:
        assert unescaped(text) == cell
