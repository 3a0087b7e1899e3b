"""A self-signed certificate for 127.0.0.1, to test TLS on this machine. Clients trust the file itself."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from devtools import children, machine

_DAYS = 365


@dataclass(frozen=True)
class Certificate:
    """PEM files."""

    file: Path  # the CA file of clients
    key: Path


def make(directory: Path) -> Certificate:
    """Return the certificate in this directory, created at the first call. Raises `MissingError`, `StartError`."""
    certificate = Certificate(directory / "certificate.pem", directory / "key.pem")
    if certificate.file.exists() and certificate.key.exists():
        return certificate
    openssl = shutil.which("openssl")
    if openssl is None:
        raise machine.MissingError(f"a certificate needs openssl; {machine.how('openssl', 'brew install openssl')}")
    directory.mkdir(parents=True, exist_ok=True)
    command = [
        *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", str(_DAYS), "-subj", "/CN=127.0.0.1"),
        *(
            "-addext",
            "subjectAltName=IP:127.0.0.1,DNS:localhost",
            "-keyout",
            str(certificate.key),
            "-out",
            str(certificate.file),
        ),
    ]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    if result.returncode:
        raise children.StartError(f"openssl: {result.stderr.strip()[-500:]}")
    certificate.file.chmod(0o644)
    certificate.key.chmod(0o600)
    return certificate
