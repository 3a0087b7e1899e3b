"""In PostgreSQL each service's role may touch its own tables and those of the runtime, and no others'."""

from collections.abc import Iterator, Mapping

import pytest

import firsthour.bootstrap.embedded  # noqa: F401  # every table there is
from devtools.postgres import PostgresServer, QueryError
from firsthour.cli.migrate import prepare_database
from firsthour.runtime.connectivity.postgres import examine_database
from firsthour.runtime.settings import load
from firsthour.runtime.storage import config_versions, grants, statements  # noqa: F401  # applied: its table
from firsthour.runtime.storage.grants import SERVICES, UnownedTableError, owner, rights
from tests import roles
from tests.shared import named

DATABASE = named("of_roles")
AUDITED = {
    ("notifier", "router_leads"),
    ("notifier", "gateway_sources"),
    ("notifier", "reporting_sources"),
    ("notifier", "router_reps"),
}
"""The tables of others that a service reads: for its audit, and for the colleagues that it offers in a hand-over."""
TABLES = sorted(statements.metadata.tables)


@pytest.fixture(scope="module")
def urls(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    with roles.create_roles(postgres, DATABASE, tmp_path_factory.mktemp("secrets")) as urls:
        yield urls


@pytest.fixture
async def migrated(urls: Mapping[str, str]) -> Mapping[str, str]:
    """The database after `firsthour migrate`, run by the role that owns it: twice, since every start of a job does."""
    for _ in range(2):
        await prepare_database(load(database_url=urls["migrate"], kafka_bootstrap="127.0.0.1:1"))
    return urls


def may(server: PostgresServer, role: str, statement: str) -> bool:
    try:
        server.run(f"SET ROLE firsthour_{role}; {statement}", DATABASE)
    except QueryError as refused:
        assert "permission denied" in str(refused) or "must be owner" in str(refused), refused
        return False
    return True


async def test_each_service_writes_its_own_tables_and_no_others(
    migrated: Mapping[str, str], postgres: PostgresServer
) -> None:
    for table in TABLES:
        service = owner(table)
        if service is None:
            continue
        assert may(postgres, service, f"DELETE FROM {table}"), table
        assert may(postgres, "gateway", f"DELETE FROM {table}"), table
        for other in set(SERVICES) - {service, "gateway"}:
            assert may(postgres, other, f"SELECT 1 FROM {table}") == ((other, table) in AUDITED), (other, table)
            assert not may(postgres, other, f"DELETE FROM {table}"), (other, table)
            assert not may(postgres, other, f"DELETE FROM {table}"), (other, table)


async def test_shared_tables_are_granted_and_keys_and_versions_are_read_alone(
    migrated: Mapping[str, str], postgres: PostgresServer
) -> None:
    for role in SERVICES:
        for table in ("log", "cursors", "seen", "dead_letters"):
            assert may(postgres, role, f"DELETE FROM {table}"), (role, table)
        assert may(postgres, role, "SELECT 1 FROM applied; SELECT 1 FROM alembic_version; SELECT nextval('log_id_seq')")
        assert may(postgres, role, "SELECT 1 FROM api_keys; UPDATE api_keys SET used_at = 1")
        assert may(postgres, role, "UPDATE api_keys SET role = 'admin'") == (role == "gateway")
        assert may(postgres, role, "SELECT 1 FROM leads") == (role == "gateway")
        for statement in (
            "DELETE FROM applied",
            "INSERT INTO alembic_version VALUES ('9999')",
            "CREATE TABLE mine (x int)",
            "DROP TABLE log",
            "ALTER TABLE log ADD COLUMN mine int",
        ):
            assert not may(postgres, role, statement), (role, statement)
        for statement in ("SELECT 1 FROM audit_log", "DELETE FROM audit_log"):
            assert may(postgres, role, statement) == (role == "gateway"), (role, statement)
    added = "INSERT INTO audit_log VALUES ('{}', 1, 'a', 'r', 'v', 'a', 't', 200, '')"
    adding = [role for role in (*SERVICES, "apply") if may(postgres, role, added.format(role))]
    assert adding == ["gateway", "notifier", "apply"]
    began = "INSERT INTO configuration_periods (version, began_at, loaded_by) VALUES ('v', 1, '')"
    assert [role for role in (*SERVICES, "apply") if may(postgres, role, began)] == ["apply"]
    assert may(postgres, "apply", "SELECT 1 FROM configurations")
    assert not may(postgres, "apply", "DELETE FROM log")


async def test_every_role_finds_the_database_in_order(migrated: Mapping[str, str]) -> None:
    for url in migrated.values():
        assert await examine_database(load(database_url=url, kafka_bootstrap="127.0.0.1:1")) == []


async def test_a_right_that_is_no_longer_granted_is_taken_back(
    migrated: Mapping[str, str], postgres: PostgresServer
) -> None:
    postgres.run("GRANT ALL ON router_leads TO firsthour_reporting", DATABASE)
    assert may(postgres, "reporting", "SELECT 1 FROM router_leads")
    await prepare_database(load(database_url=migrated["migrate"], kafka_bootstrap="127.0.0.1:1"))
    assert not may(postgres, "reporting", "SELECT 1 FROM router_leads")


@pytest.mark.parametrize("table", TABLES)
def test_every_table_has_an_owner(table: str) -> None:
    assert rights(table)


def test_a_table_without_an_owner_is_a_mistake_and_is_granted_to_no_role() -> None:
    with pytest.raises(UnownedTableError, match="name it after its service"):
        rights("leftovers")
    assert not [one for one in grants.statements(["leftovers"], {"router": "r"}) if "leftovers" in one]
