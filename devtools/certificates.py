"""A certificate for 127.0.0.1 that signs itself, so that TLS is tried on this machine: clients trust the file itself."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from devtools import children, machine

_DAYS = 365


@dataclass(frozen=True)
class Certificate:
    """PEM files."""

    file: Path  # what clients name as their CA
    key: Path


def make(directory: Path) -> Certificate:
    """The certificate in this directory, made once. Raises `MissingError`, `StartError`."""
    made = Certificate(directory / "certificate.pem", directory / "key.pem")
    if made.file.exists() and made.key.exists():
        return made
    openssl = shutil.which("openssl")
    if openssl is None:
        raise machine.MissingError(f"a certificate needs openssl; {machine.how('openssl', 'brew install openssl')}")
    directory.mkdir(parents=True, exist_ok=True)
    command = [
        *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", str(_DAYS), "-subj", "/CN=127.0.0.1"),
        *("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", str(made.key), "-out", str(made.file)),
    ]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise children.StartError(f"openssl: {done.stderr.strip()[-500:]}")
    made.file.chmod(0o644)
    made.key.chmod(0o600)
    return made
