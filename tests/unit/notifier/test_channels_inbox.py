"""Pages that stay here, and the line that the terminal shows of one."""

import io

import pytest
from rich.console import Console

from services.notifier.channels.base import Sent
from services.notifier.channels.inbox import InboxChannel, terminal_line
from services.notifier.domain.message import Message
from tests.fakes.pages import ATTACKS, hostile_message, page_message


def _printed(message: Message) -> str:
    out = io.StringIO()
    Console(file=out, width=200, force_terminal=True, color_system=None).print(terminal_line(message))
    return out.getvalue()


async def test_every_page_is_accepted_and_shown() -> None:
    shown: list[Message] = []
    assert await InboxChannel(shown.append).send(page_message(page_id="p1")) == Sent("inbox:p1")
    assert [message.page_id for message in shown] == ["p1"]


async def test_a_terminal_that_is_gone_does_not_lose_the_page() -> None:
    def broken(_: Message) -> None:
        raise BrokenPipeError

    assert await InboxChannel(broken).send(page_message(page_id="p1")) == Sent("inbox:p1")


def test_the_line_says_when_whom_and_what() -> None:
    line = terminal_line(page_message()).plain
    assert line == "09:02:00  Bo Chen  Hot lead: call Ann Lee (Acme) by 10:00 UTC, 58 minutes left"


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_steers_the_terminal(attack: str) -> None:
    printed = _printed(hostile_message(attack))
    assert printed.count("\n") == 1
    assert printed.rstrip("\n").isprintable()


def test_markup_is_shown_as_typed() -> None:
    assert "[bold red]Ann[/]" in _printed(page_message(card_name="[bold red]Ann[/]"))
