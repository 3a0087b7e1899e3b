"""Warnings about variables that look like settings."""

import pytest

from firsthour.runtime.config.host_warnings import setting_variables, unknown_variables


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
