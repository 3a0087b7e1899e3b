"""Pages in the inbox, and their line in the terminal."""

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


async def test_inbox_accepts_and_shows_every_page() -> None:
    shown: list[Message] = []
    assert await InboxChannel(shown.append).send(page_message(page_id="p1")) == Sent("inbox:p1")
    assert [message.page_id for message in shown] == ["p1"]


async def test_closed_terminal_does_not_fail_the_page() -> None:
    def broken(_: Message) -> None:
        raise BrokenPipeError

    assert await InboxChannel(broken).send(page_message(page_id="p1")) == Sent("inbox:p1")


def test_terminal_line_has_time_recipient_and_subject() -> None:
    line = terminal_line(page_message()).plain
    assert line == "09:02:00  Bo Chen  Hot lead: call Ann Lee (Acme) by 10:00 UTC"


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_does_not_control_the_terminal(attack: str) -> None:
    printed = _printed(hostile_message(attack))
    assert printed.count("\n") == 1
    assert printed.rstrip("\n").isprintable()


def test_markup_is_shown_as_text() -> None:
    assert "[bold red]Ann[/]" in _printed(page_message(card_name="[bold red]Ann[/]"))
