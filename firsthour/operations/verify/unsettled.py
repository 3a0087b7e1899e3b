"""The leads that `verify` does not judge: their rows may differ because a record has not been handled yet."""

from collections.abc import Iterator
from typing import Final

from firsthour.operations.verify.progress import ConsumerProgress
from firsthour.operations.verify.queries import Queries
from firsthour.runtime.storage.records import partition_of
from schemas import topics
from schemas.envelope import UnknownEventError, decode

_TOPICS_BY_LEAD: Final = (topics.LEADS, topics.ROUTES, topics.ACTIONS, topics.PAGES)

_UNREAD: Final = "SELECT DISTINCT key FROM log WHERE topic = :topic AND id > :id"
_UNPUBLISHED: Final = "SELECT DISTINCT key FROM log WHERE topic <> 'events'"
_READ_BY_REPORTING: Final = """
    SELECT lead_id, position FROM reporting_history
    WHERE topic = :topic AND lead_id IS NOT NULL AND position > :position"""
_DEAD_LETTERS: Final = "SELECT key, body FROM dead_letters WHERE consumer <> 'gateway' AND state <> 'retried'"
_DEAD_LETTERS_IN_HISTORY: Final = """
    SELECT DISTINCT lead_id FROM dead_letters JOIN reporting_history ON reporting_history.id = dead_letters.source
    WHERE state <> 'retried' AND lead_id IS NOT NULL"""
_CHANGED_SINCE: Final = (
    "SELECT lead_id FROM router_leads WHERE updated_at >= :since",
    "SELECT lead_id FROM scoring_profiles WHERE updated_at >= :since",
    "SELECT lead_id FROM notifier_clocks WHERE updated_at >= :since",
)
_VERSIONS_DIFFER: Final = (
    """SELECT scoring_profiles.lead_id FROM scoring_profiles
       LEFT JOIN router_leads ON router_leads.lead_id = scoring_profiles.lead_id
       WHERE router_leads.lead_id IS NULL OR scoring_version < scoring_profiles.version""",
    """SELECT router_leads.lead_id FROM router_leads
       LEFT JOIN notifier_clocks ON notifier_clocks.lead_id = router_leads.lead_id
       WHERE notifier_clocks.lead_id IS NULL OR notifier_clocks.version < router_leads.version""",
)
"""Leads of which one service knows more than the next: the only trace in the database of a record that waits in Kafka."""


def unsettled_leads(queries: Queries, progress: ConsumerProgress, *, since: int | None, all_read: bool) -> set[str]:
    """Return the leads with an unread record, a dead letter, or a change from `since` (business microseconds) on.

    `all_read`: every consumer has read all records from before `since`. False, in a distributed installation: leads of
    which one service knows more than the next are unsettled too.
    """
    leads = {*_with_dead_letters(queries)}
    leads |= {*(_behind_reporting(queries, progress) if queries.distributed else _unread(queries, progress))}
    if since is not None:
        for sql in _CHANGED_SINCE:
            leads |= {row.lead_id for row in queries.ask(sql, since=since)}
    if queries.distributed and not all_read:
        for sql in _VERSIONS_DIFFER:
            leads |= {row.lead_id for row in queries.ask(sql)}
    return leads


def _unread(queries: Queries, progress: ConsumerProgress) -> Iterator[str]:
    for topic in _TOPICS_BY_LEAD:
        position = min(progress.read_to(consumer, topic) for consumer in topics.READ_BY[topic])
        yield from (row.key for row in queries.ask(_UNREAD, topic=topic, id=position))


def _behind_reporting(queries: Queries, progress: ConsumerProgress) -> Iterator[str]:
    """Yield leads with a record that is not published, or that reporting has read before another consumer."""
    yield from (row.key for row in queries.ask(_UNPUBLISHED))
    for topic in _TOPICS_BY_LEAD:
        for consumer in topics.READ_BY[topic]:
            behind = progress.ahead("reporting", consumer, topic)
            if not behind:
                continue
            for row in queries.ask(_READ_BY_REPORTING, topic=topic, position=min(behind.values())):
                position = behind.get(partition_of(row.lead_id, progress.partitions))
                if position is not None and row.position > position:
                    yield row.lead_id


def _with_dead_letters(queries: Queries) -> Iterator[str]:
    """Yield the keys of dead letters. A dropped letter has no body. A foreign record has no key of FirstHour."""
    for row in queries.stream(_DEAD_LETTERS):
        try:
            yield decode(bytes(row.body)).partitionkey if row.body else row.key
        except UnknownEventError:
            continue
    yield from (row.lead_id for row in queries.ask(_DEAD_LETTERS_IN_HISTORY))  # also letters whose body is erased
