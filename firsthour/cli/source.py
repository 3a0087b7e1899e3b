"""`firsthour source`: shows what the sources of events send, and tries bodies at them."""

import base64
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from firsthour.cli.installation import connect
from firsthour.runtime.http.errors import NO
from firsthour.runtime.terminal import AsJson, ConfigDir, DataDir, print_json, print_table, run, say

app = typer.Typer(
    help="Sources of events: fields, try.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)


@app.callback()
def _group() -> None:
    """Sources of events: fields, try."""


@app.command()
def fields(
    source: Annotated[str, typer.Argument(help="Id of a source in sources.yaml, or the name of an API key.")],
    data: DataDir = None,
    config: ConfigDir = None,
    as_json: AsJson = False,
) -> None:
    """List the fields that a source sent and FirstHour did not understand, with their number of events.

    Each is kept as the custom fact `custom.<name>`. `fields:` of the source in sources.yaml gives it a meaning.

    Example: firsthour source fields website
    """

    async def ask() -> dict[str, Any]:
        async with connect(data, config) as line:
            return await line.ask("GET", f"/v1/sources/{quote(source, safe='')}/fields")

    answer = run(ask)
    if as_json:
        print_json(answer)
        return
    if not answer["items"]:
        say(f"Every field of {source} in the last 35 days was understood, or it sent none.")
        return
    columns = ("name", "events", "last seen", "note")
    print_table(columns, ([item["name"], item["events"], item["last_at"], _note(item)] for item in answer["items"]))
    if answer["others"]:
        say(f"Further names, which gave way to these: {answer['others']} events.")


def _note(item: dict[str, Any]) -> str:
    if item["used"]:
        return "read by the agreement"
    return f"means {item['means']}, which another field filled" if item["means"] else ""


_FRAME: Final = ("id", "time", "email", "phone", "crm_id", "anonymous_id")


@app.command("try")
def try_body(
    source: Annotated[
        str, typer.Argument(help="Id of a source in sources.yaml that is a webhook or is read from Kafka.")
    ],
    body: Annotated[Path, typer.Option(help="File with the body of a delivery.", exists=True, dir_okay=False)],
    headers: Annotated[
        Path | None,
        typer.Option(
            help="File with its headers, one `Name: value` on each line; they are verified.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    content_type: Annotated[
        str, typer.Option(help="Content type, if the headers do not have it.")
    ] = "application/json",
    answer: Annotated[
        Path | None,
        typer.Option(
            help="File with the answer of the vendor's API that completes the delivery.", exists=True, dir_okay=False
        ),
    ] = None,
    target: Annotated[str, typer.Option(help="Path and query of the request, if a signature covers them.")] = "",
    data: DataDir = None,
    config: ConfigDir = None,
    as_json: AsJson = False,
) -> None:
    """Show what a delivery would become: verification, events, the expression of each field, unused parts. Nothing is stored.

    Each event is followed by its effect: score and its parts, the line of `qualify`, status, owner and pages.

    For a delivery that only names an event, it shows the address at which the rest would be read; nothing is fetched.

    For a source of `kind: kafka`, the body is a record: a structured CloudEvent, or a binary one with its `ce_` headers in --headers.

    Exit code 1 if the delivery would be refused, or if a part of it cannot be mapped.

    Example: firsthour source try telephony --body call.json --headers headers.txt
    """
    delivery: dict[str, Any] = {"body": base64.b64encode(body.read_bytes()).decode(), "target": target}
    delivery["content_type"] = content_type
    if answer is not None:
        delivery["answer"] = base64.b64encode(answer.read_bytes()).decode()
    if headers is not None:
        delivery["headers"] = _headers(headers)
        delivery["content_type"] = next(
            (text for name, text in delivery["headers"].items() if name.lower() == "content-type"), content_type
        )

    async def ask() -> dict[str, Any]:
        async with connect(data, config, configured=True) as line:
            return await line.ask("POST", f"/v1/sources/{quote(source, safe='')}/try", body=delivery)

    report = run(ask)
    if as_json:
        print_json(report)
    else:
        _show(report, completed=answer is not None)
    if report["verified"] is False or report["faults"]:
        raise typer.Exit(NO)


def _headers(file: Path) -> dict[str, str]:
    """Return the headers of a file. Raises for a line that is none."""
    pairs = {}
    for number, line in enumerate(file.read_text(encoding="latin-1").splitlines(), 1):
        name, colon, value = line.partition(":")
        if line.strip() and not (colon and name.strip()):
            raise typer.BadParameter(f"{file}:{number}: is not a header; write `Name: value`", param_hint="--headers")
        if line.strip():
            pairs[name.strip()] = value.strip()
    return pairs


def _show(report: dict[str, Any], *, completed: bool) -> None:
    """Show the report. `completed`: it was made with an answer of the vendor's API."""
    words = {True: "Verified.", False: f"Not verified: {report['why']}.", None: f"Not tried: {report['why']}."}
    say(words[report["verified"]])
    for fetch in report["fetches"]:
        say(f"Would be fetched: {fetch['url']}")
    for event in report["events"]:
        say(f"{event['type']}")
        texts, places = event["expressions"], event["places"]
        whole = texts.get("", "")
        rows = [(name, event[name], texts.get(name, whole), _place(places, name)) for name in _FRAME if event[name]]
        for name, value in (*event["person"].items(), *event["fields"].items()):
            rows.append((name, value, texts.get(name) or texts.get("form_fields", whole), _place(places, name)))
        print_table(("field", "value", "expression", "place"), rows)
        if event["effect"] is not None:
            show_effect(event["effect"])
    if not completed and not report["events"] and report["fetches"] and not report["faults"]:
        say("The events follow from the answer: `--answer FILE` shows them.")
    elif not report["events"] and not report["faults"]:
        say(
            "No event: no entry of `events:` applies to this body. It would be counted as `nothing matched`, and the newest of its"
        )
        say("type kept: `firsthour deadletters list --state unmatched --source ID`.")
    elif report["unmatched"]:
        say(
            f"Items to which no entry of `events:` applies: {report['unmatched']}. They are counted as `nothing matched`."
        )
    for fault in report["faults"]:
        say(f"{fault['pointer']}: {fault['detail']}")
    if report["unused"]:
        say(f"Not used: {', '.join(report['unused'])}")


def show_effect(effect: dict[str, Any]) -> None:
    """Show what an event would change."""
    score, before, owner = effect["score"], effect["score_before"], effect["owner"]
    was = "" if before is None else f" (now {before['total']:g}, {before['grade']})"
    say(f"Lead: {effect['lead'] or 'a new one'}{', by ' + effect['shared'] if effect['shared'] else ''}")
    say(
        f"Score: {score['total']:g}, grade {score['grade']}{was}: fit {score['fit']:g}, engagement {score['engagement']:g}"
    )
    print_table(
        ("part", "because", "points", "worth now"),
        ([part["kind"], part["because"], part["points"], part["worth"]] for part in effect["parts"]),
    )
    line = effect["qualify"]
    say(f"Meets: {line['line']} ({line['urgency']})" if line else f"Not handed over: {effect['why_not']}.")
    status = effect["status"]
    if status["from"] != status["to"]:
        say(f"Status: {status['from']} -> {status['to']}")
    if owner is not None:
        found = f"Owner: {owner['rep']}" if owner["rep"] else f"Waits for {owner['pool'] or 'a rule'}"
        say(f"{found}, by rule {owner['rule'] or '-'}: {owner['why']}")
    if effect["pages"]:
        say(f"Pages, if no touch is recorded until {effect['promise_at']}:")
        print_table(
            ("at", "kind", "person", "by", "note"),
            (
                [page["at"], page["kind"], page["person"], ", ".join(page["by"]), page["why"] or ""]
                for page in effect["pages"]
            ),
        )


def _place(places: dict[str, str], name: str) -> str:
    return places.get(name) or places.get("", "")
