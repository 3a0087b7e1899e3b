"""Waits until what had been said when it began has been heard, stage by stage along the road of a lead."""

import asyncio
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from schemas import topics
from services.runtime.log import cursors
from services.runtime.service import Resources

WAIT_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 0.05
ROAD: Final = (topics.EVENTS, topics.LEADS, topics.ROUTES, topics.ACTIONS, topics.ROUTES, topics.LEADS, topics.PAGES)
"""Topics in the order in which one thing leads to another; routes and leads come again after an action."""


async def wait(resources: Resources) -> tuple[str, ...]:
    """Who is still behind after `WAIT_SECONDS` (real), a line each; nobody, if all is well.

    The end of each topic is read after the stage before it was heard, so it holds whatever that stage said.
    """
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            for topic in ROAD:
                end = await resources.log.end(topic, 0)
                while await _behind(resources, topic, end):  # noqa: ASYNC110  # cursors are rows: nobody tells of them
                    await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        return await _who(resources)
    return ()


async def _behind(resources: Resources, topic: str, end: int) -> list[str]:
    def look(connection: Connection) -> list[str]:
        rows = connection.execute(sa.select(cursors.c.consumer, cursors.c.position).where(cursors.c.topic == topic))
        at = {row.consumer: row.position for row in rows}
        return [consumer for consumer in topics.HEARD_BY[topic] if at.get(consumer, 0) < end]

    return await resources.reads(look)


async def _who(resources: Resources) -> tuple[str, ...]:
    found = []
    for topic in dict.fromkeys(ROAD):
        end = await resources.log.end(topic, 0)
        found += [f"{consumer} has not read all of {topic}" for consumer in await _behind(resources, topic, end)]
    return tuple(found)
