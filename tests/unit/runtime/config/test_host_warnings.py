"""Warnings about variables that look like settings."""

import shutil
from pathlib import Path

import pytest

from firsthour.runtime import package_files, settings
from firsthour.runtime.config.host_warnings import setting_variables, unknown_variables, warnings
from firsthour.runtime.config.reading import load


def test_misspelt_variable_is_reported_with_the_nearest_setting() -> None:
    environment = (
        "FIRSTHOUR_SMTP_ULR",
        "firsthour_log_format",
        "FIRSTHOUR_PUBLIC_URL_FILE",
        "PATH",
        "FIRSTHOUR_HOOK",
        "FIRST",
    )
    assert unknown_variables(environment, secrets={"FIRSTHOUR_HOOK"}) == (
        "`FIRSTHOUR_PUBLIC_URL_FILE` is not a setting and has no effect; did you mean FIRSTHOUR_PUBLIC_URL?",
        "`FIRSTHOUR_SMTP_ULR` is not a setting and has no effect; did you mean FIRSTHOUR_SMTP_URL?",
    )
    assert unknown_variables(["FIRST_HOUR_SMTP_URL", "FIRSTHOUR_X\x1b[2J"]) == (
        "`'FIRSTHOUR_X\\x1b[2J'` is not a setting and has no effect; unset it; the settings are listed in the README",
        "`FIRST_HOUR_SMTP_URL` has no effect; did you mean FIRSTHOUR_SMTP_URL?",
    )


@pytest.mark.parametrize("name", setting_variables())
def test_variable_of_a_setting_is_not_reported_as_unknown(name: str) -> None:
    assert unknown_variables([name, name.lower()]) == ()


def test_source_that_only_kafka_has_is_a_warning_in_one_process(tmp_path: Path) -> None:
    shutil.copytree(package_files.examples(), tmp_path / "config")
    file = tmp_path / "config" / "sources.yaml"
    file.write_text(file.read_text() + "\n  - {id: shop, kind: kafka, producers: [/shop], types: [lead.updated]}\n")
    config = load(tmp_path / "config")
    alone = settings.load(data_dir=tmp_path)
    over_kafka = settings.load(data_dir=tmp_path, database_url="postgresql://u:p@h:5432/d", kafka_bootstrap="h:9092")
    found = [[line for line in warnings(one, config) if "source shop" in line] for one in (alone, over_kafka)]
    assert [len(lines) for lines in found] == [1, 0]
    assert "set FIRSTHOUR_KAFKA_BOOTSTRAP, or remove the source" in found[0][0]
