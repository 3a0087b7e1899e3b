"""The rights of each service on the tables of PostgreSQL, and the statements that grant them.

The name of a table begins with the name of its service; the tables of the runtime are listed here. A new table thus has
an owner by its name, and a test finds a table without one. `firsthour migrate` grants to the roles that exist: an
installation with one role for all services needs no change.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from schemas.errors import FirstHourError

SERVICES: Final = ("gateway", "scoring", "router", "notifier", "reporting")
APPLY: Final = "apply"
ROLES: Final = (*SERVICES, APPLY)
FRONT: Final = "gateway"
"""The service that answers HTTP for all services: it runs their commands and retries their dead letters."""

AUDITOR: Final = "notifier"
"""The service whose processes audit the installation. It also reads which reps are free, for a hand-over."""

CLICKS: Final = "notifier"
"""The service that applies what people do in Slack and on the pages of leads."""

_WRITES: Final = "SELECT, INSERT, UPDATE, DELETE"
_READS: Final = "SELECT"
_ADDS: Final = "INSERT"

# Every unit writes these.
_WORK: Final = frozenset({"log", "cursors", "seen", "dead_letters", "dead_letter_totals"})
_IN_FORCE: Final = frozenset({"applied", "configurations", "configuration_periods"})
_AUDITED: Final = frozenset({"router_leads", "reporting_sources", "gateway_sources", "router_reps"})
_OF_THE_FRONT: Final = frozenset({"idempotency", "console_sessions", "console_links"})
_READ_BY_ALL: Final = frozenset({"meta", "alembic_version"})
_VIEWS: Final = frozenset({"leads", "running_clocks"})
_USED: Final = "UPDATE (used_at)"  # each process notes the use of a key


class UnownedTableError(FirstHourError, ValueError):
    """Raised for a table that no service owns: name it after its service, or list its readers here."""


def owner(table: str) -> str | None:
    """Return the service that owns a table, by the table's name; None for tables of the runtime."""
    return next((service for service in SERVICES if table.startswith(f"{service}_")), None)


def rights(table: str) -> Mapping[str, Sequence[str]]:
    """Return the rights of each role on this table. Raises `UnownedTableError`."""
    service = owner(table)
    if service is not None:
        readers = {AUDITOR: (_READS,)} if table in _AUDITED else {}
        return {**readers, service: (_WRITES,), FRONT: (_WRITES,)}
    if table in _WORK:
        return {**dict.fromkeys(SERVICES, (_WRITES,)), APPLY: (_READS,)}
    if table in _IN_FORCE:
        return {**dict.fromkeys(SERVICES, (_READS,)), APPLY: (f"{_READS}, INSERT",)}
    if table == "api_keys":
        return {**dict.fromkeys(SERVICES, (_READS, _USED)), FRONT: (_WRITES,)}
    if table == "audit_log":
        return {FRONT: (_WRITES,), CLICKS: (_ADDS,), APPLY: (_ADDS,)}
    if table in _OF_THE_FRONT:
        return {FRONT: (_WRITES,)}
    if table in _READ_BY_ALL:
        return dict.fromkeys(ROLES, (_READS,))
    if table in _VIEWS:
        return {FRONT: (_READS,)}
    raise UnownedTableError(f"the table {table} has no owner: name it after its service")


def grant(connection: Connection, prefix: str) -> None:
    """Grant its rights to each role `<prefix><service>` that exists, and revoke all others."""
    names = {role: f"{prefix}{role}" for role in ROLES}
    existing = set(
        connection.execute(
            sa.text("SELECT rolname FROM pg_roles WHERE rolname = ANY(:names)"), {"names": list(names.values())}
        ).scalars()
    )
    roles = {role: name for role, name in names.items() if name in existing}
    if not roles:
        return
    inspector = sa.inspect(connection)
    relations = [*inspector.get_table_names(), *inspector.get_view_names()]
    for statement in statements(relations, roles):
        connection.exec_driver_sql(statement)


def statements(relations: Iterable[str], roles: Mapping[str, str]) -> Iterator[str]:
    """Return the statements for these tables and views. `roles`: the name of each role in the database.

    An unknown table is one of a newer version; it is granted to no role.
    """
    all_roles = ", ".join(map(_quoted, roles.values()))
    yield f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {all_roles}"
    yield f"GRANT USAGE ON SCHEMA public TO {all_roles}"
    yield f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {all_roles}"
    for relation in relations:
        try:
            allowed = rights(relation)
        except UnownedTableError:
            continue
        for role, allowed_rights in allowed.items():
            if role in roles:
                yield from (
                    f"GRANT {right} ON {_quoted(relation)} TO {_quoted(roles[role])}" for right in allowed_rights
                )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
