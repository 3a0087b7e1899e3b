"""Forms that tests post, and their bodies."""

from typing import Any

from tests.unit.gateway.harness import GatewayHarness

DEMO = "/v1/forms/demo-request"


ANN = {
    "email": "ann@acme.example",
    "name": "Ann",
    "company": "Acme",
    "employees": "1,200",
    "utm_source": "ad",
    "message": "hi",
}


ORIGIN = {"origin": "https://www.acme.example"}


def multipart(parts: list[tuple[str, bytes]], boundary: str = "b0undary") -> tuple[dict[str, str], bytes]:
    """Return the headers and the body. Each part: the text after `form-data; `, and its content."""
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + content + b"\r\n"
        for disposition, content in parts
    )
    return {"content-type": f"multipart/form-data; boundary={boundary}"}, body + f"--{boundary}--\r\n".encode()


async def posted(harness: GatewayHarness, body: bytes, media: str = "application/x-www-form-urlencoded") -> Any:
    """Post a body and return its event."""
    answer = await harness.request("POST", DEMO, {"content-type": media}, body)
    assert answer.status == 202, answer.body
    return harness.records[-1].event
