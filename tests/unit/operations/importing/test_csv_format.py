"""The guess of encoding and separator."""

from pathlib import Path

import pytest

from firsthour.operations.importing.csv_format import COLUMNS_MAX, UnreadableFileError, inspect
from firsthour.operations.importing.csv_rows import records
from tests.unit.operations.importing.lists import LEADS, plan, write

TEXT = "Vorname;Größe\r\nJürgen;1\r\n"


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (TEXT.encode("utf-8"), "utf-8"),
        (TEXT.encode("utf-8-sig"), "utf-8-sig"),
        (TEXT.encode("cp1252"), "cp1252"),
        (TEXT.encode("utf-16"), "utf-16"),
        (TEXT.encode("utf-16-le"), "utf-16-le"),
        (TEXT.encode("utf-16-be"), "utf-16-be"),
    ],
)
def test_encoding_is_guessed(tmp_path: Path, content: bytes, encoding: str) -> None:
    file = inspect(write(tmp_path, content))
    assert (file.encoding, file.separator, file.header) == (encoding, ";", ("Vorname", "Größe"))
    assert [row.cells for row in records(file)] == [("Jürgen", "1")]


def test_byte_that_is_not_utf_8_is_found_far_behind_the_beginning(tmp_path: Path) -> None:
    file = inspect(write(tmp_path, b"name\n" + b"Ann\n" * 100_000 + b"J\xfcrgen\n"))
    assert (file.encoding, list(records(file))[-1].cells) == ("cp1252", ("Jürgen",))


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separator_is_guessed(tmp_path: Path, separator: str) -> None:
    text = separator.join(("name", '"Size; or, so"', "email")) + "\n"
    assert inspect(write(tmp_path, text)).separator == separator


def test_separator_that_excel_names_is_used(tmp_path: Path) -> None:
    file = inspect(write(tmp_path, "sep=;\na,b;c\n1;2\n"))
    assert (file.header, [row.cells for row in records(file)]) == (("a,b", "c"), [("1", "2")])


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", {}, ":1: has no header"),
        (b" , \n", {}, ":1: has no header"),
        (b"a," * (COLUMNS_MAX + 1) + b"\n", {}, ":1: the header has more than 200 columns"),
        (b"a," * 10_000 + b"\n", {}, "columns"),
        (b"a" * 200_000, {}, "100,000 characters"),
        (b"\xff\xfea\n\x00", {"encoding": "utf-16"}, ":1: is not utf-16"),
        (b"a\n", {"encoding": "no such"}, "--encoding no such: is unknown"),
        (b"a\n", {"encoding": "base64"}, "--encoding base64: is unknown"),
    ],
)
def test_file_that_cannot_be_read_is_refused_with_a_remedy(
    tmp_path: Path, content: bytes, options: dict[str, str], message: str
) -> None:
    with pytest.raises(UnreadableFileError, match=r".+; .+") as refusal:
        inspect(write(tmp_path, content), **options)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04" + bytes(100), "is a workbook or an archive; save it as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "is a workbook or an archive; save it as CSV"),
        (bytes(range(256)), ":1: is not text; name a CSV file"),
    ],
)
def test_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UnreadableFileError) as refused:
        inspect(write(tmp_path, content))
    assert message in str(refused.value)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="No such file or directory; name a CSV file"):
        inspect(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (["company=Firm"], "there is no column `Firm`"),
        (["employes=Stand"], "`employes` is not a field of a lead; did you mean `company.employees`?"),
        (["company="], "is not FIELD=COLUMN"),
        (["no-such-file"], "is neither FIELD=COLUMN nor a file"),
    ],
)
def test_wrong_map_is_refused_with_a_remedy(tmp_path: Path, maps: list[str], message: str) -> None:
    with pytest.raises(UnreadableFileError) as refusal:
        plan(write(tmp_path, LEADS), maps=maps)
    assert message in str(refusal.value)
