"""Example files load, invalid files leave the previous configuration in force, and secrets are read."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest
from pydantic import BaseModel

from firsthour.runtime.config import yaml_source
from firsthour.runtime.config.reading import ConfigError, ConfigFiles, load
from firsthour.runtime.config.source_secrets import SecretMissingError, resolve
from schemas.agreement.agreement import Agreement
from schemas.agreement.lifecycle import TRANSITIONS
from schemas.sources import FormSource, Sources, WebhookSource
from schemas.team import Away, Team
from schemas.verification import Hmac, Secret
from tests.unit.runtime.config.harness import EXAMPLES, ConfigHarness

SHARED = Path(__file__).parents[5] / "shared" / "examples"


def test_example_files_load_without_warning() -> None:
    config = load(EXAMPLES)
    assert config.warnings == ()
    assert len(config.version) == 12
    form = config.sources.sources[0]
    assert isinstance(form, FormSource)
    assert form.forms == ("demo-request", "contact-sales", "newsletter")


def test_commented_webhook_of_the_examples_loads_when_uncommented(harness: ConfigHarness) -> None:
    text = (harness.directory / "sources.yaml").read_text(encoding="utf-8")
    head, _, tail = text.partition("  #\n  # - id")
    lines = [line.replace("  # ", "  ", 1) for line in ("  # - id" + tail).splitlines()]
    harness.write("sources.yaml", head + "\n" + "\n".join(lines) + "\n")
    source = harness.load().sources.sources[1]
    assert isinstance(source, WebhookSource)
    (scheme,) = source.verify
    assert isinstance(scheme, Hmac)
    assert scheme.secrets == (Secret(env="TELEPHONY_SECRET"),)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the agreed field names are not beside this tree")
def test_files_with_every_field_load_with_warnings_of_unused_fields() -> None:
    config = load(SHARED)
    warnings = "\n".join(config.warnings)
    for field in (
        "personas",
        "segments",
        "promises.marketing",
        "goals",
        "recycle",
        "audiences",
        "holds",
    ):
        assert f"`{field}` has no effect yet; " in warnings
    assert "`lifecycle.campaigns`" in warnings
    assert list(config.agreement.response.urgencies) == ["hot", "warm"]


@pytest.mark.parametrize(("name", "shape"), [("agreement", Agreement), ("team", Team), ("sources", Sources)])
@pytest.mark.parametrize("directory", [EXAMPLES, SHARED])
def test_files_that_load_satisfy_the_json_schema(directory: Path, name: str, shape: type[BaseModel]) -> None:
    path = directory / f"{name}.yaml"
    if not path.exists():
        pytest.skip("the agreed field names are not beside this tree")
    data = yaml_source.parse(path.read_bytes(), path.name).data
    jsonschema.validate(data, shape.model_json_schema(by_alias=True), jsonschema.Draft202012Validator)


def test_warning_has_the_position_of_its_field(harness: ConfigHarness) -> None:
    place = harness.change("team.yaml", "    capacity: {open: 20}", "    capacity: {open: 20, «per_day: 3}")
    (warning,) = harness.load().warnings
    assert warning.startswith(f"{place}: `reps.capacity.per_day` has no effect yet; ")


def test_optional_fields_of_the_agreement_have_defaults() -> None:
    least = {
        "version": 1,
        "scoring": {},
        "qualify": [{"name": "Asked", "urgency": "hot", "on": "form.submitted"}],
        "routing": {"rules": [{"name": "all", "pool": "p"}]},
        "response": {"hot": {"touch_within": "1h"}},
    }
    agreement = Agreement.model_validate(least)
    assert agreement.scoring.engagement.half_life == timedelta(days=14)
    assert agreement.lifecycle.transitions == TRANSITIONS
    assert agreement.lifecycle.statuses["opted-out"] == "nobody"
    assert agreement.response.ladder[0].page == "owner"
    assert agreement.response.urgencies["hot"].counted_in == "always"
    assert Agreement.model_validate(agreement.model_dump(by_alias=True)) == agreement


def test_transition_from_any_leaves_every_status_except_its_end() -> None:
    out = TRANSITIONS[-2]
    assert out.leaves("customer")
    assert not out.leaves("opted-out")


def test_section_without_value_counts_as_absent(harness: ConfigHarness) -> None:
    harness.change("agreement.yaml", "\nsuppress:", "\ngoals:\nsuppress:")
    assert harness.load().agreement.goals == ()


def test_absence_in_days_includes_both_days() -> None:
    away = Away.model_validate({"from": "2026-12-24", "to": "2026-12-24"})
    assert away.starts == datetime(2026, 12, 24, tzinfo=UTC)
    assert away.ends == datetime(2026, 12, 25, tzinfo=UTC)


def test_absence_in_times_ends_at_its_time(harness: ConfigHarness) -> None:
    harness.change(
        "team.yaml",
        "    capacity: {open: 20}",
        "    away: [{from: '2026-12-24T14:00:00+01:00', to: '2026-12-24T18:00:00+01:00'}]",
    )
    lea = harness.load().team.rep_by_id["lea"]
    assert lea.away_until(datetime(2026, 12, 24, 13, tzinfo=UTC)) == datetime(2026, 12, 24, 17, tzinfo=UTC)
    assert lea.away_until(datetime(2026, 12, 24, 17, tzinfo=UTC)) is None


def test_version_depends_on_content_but_not_on_comments_or_layout(harness: ConfigHarness) -> None:
    before = harness.load().version
    harness.change("agreement.yaml", "rearm_below: 35 ", "# a comment\nrearm_below:     35 ")
    assert harness.load().version == before
    harness.change("sources.yaml", "honeypot: _hp", "honeypot: trap")
    changed = harness.load().version
    assert changed != before, "the version includes sources.yaml"
    harness.change("agreement.yaml", "rearm_below:     35", "rearm_below: 36")
    assert harness.load().version not in (before, changed)


def _has_problem(files: ConfigFiles) -> bool:
    return files.problem is not None


def test_changed_file_is_put_in_force(harness: ConfigHarness) -> None:
    files = ConfigFiles(harness.directory)
    assert not files.refresh()
    harness.change("agreement.yaml", "rearm_below: 35", "rearm_below: 36")
    assert files.refresh()
    assert files.current.agreement.rearm_below == 36
    assert not files.refresh()


def test_invalid_file_leaves_the_previous_config_in_force(harness: ConfigHarness) -> None:
    files = ConfigFiles(harness.directory)
    before = files.current
    place = harness.change("agreement.yaml", "rearm_below: 35", "rearm_below: «soon")
    assert not files.refresh()
    assert files.current is before
    assert str(files.problem).startswith(str(place))
    assert not files.refresh()
    assert _has_problem(files)
    harness.change("agreement.yaml", "rearm_below: soon", "rearm_below: 30")
    assert files.refresh()
    assert not _has_problem(files)
    assert files.current.agreement.rearm_below == 30


def test_restored_file_ends_the_problem(harness: ConfigHarness) -> None:
    files = ConfigFiles(harness.directory)
    before = (harness.directory / "team.yaml").read_bytes()
    (harness.directory / "team.yaml").unlink()
    assert not files.refresh()
    assert _has_problem(files)
    (harness.directory / "team.yaml").write_bytes(before)
    assert not files.refresh(), "the configuration is the one in force"
    assert not _has_problem(files)


def test_directory_without_files_raises_one_problem_per_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        ConfigFiles(tmp_path)
    assert len(raised.value.problems) == 3


def test_secret_is_read_from_file_or_variable(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret\n", encoding="utf-8")
    assert resolve(Secret(file="key"), {}, tmp_path) == "s3cret"
    assert resolve(Secret(env="KEY"), {"KEY": " s3cret "}) == "s3cret"


@pytest.mark.parametrize("secret", [Secret(env="KEY"), Secret(file="nowhere"), Secret(file="empty"), Secret(file="\0")])
def test_missing_secret_is_named(tmp_path: Path, secret: Secret) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(SecretMissingError, match=r"KEY|nowhere|empty|cannot be read"):
        resolve(secret, {"KEY": ""}, tmp_path)
