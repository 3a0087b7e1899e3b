"""A certificate authority for tests, created with `openssl` and valid for one day."""

import subprocess
from pathlib import Path


class Authority:
    """Issues certificates. `file` is its own certificate, which clients trust."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.file = directory / "ca.pem"
        _openssl(
            *("req", "-x509", "-nodes", "-days", "1", "-subj", "/CN=Test authority", *_KEY),
            *(
                "-addext",
                "keyUsage=critical,keyCertSign,cRLSign",
            ),  # newer versions of OpenSSL require it of an authority
            *("-keyout", str(directory / "ca.key"), "-out", str(self.file)),
        )

    def issue(self, name: str, address: str) -> tuple[Path, Path]:
        """Return the certificate of a server at this address (`IP:127.0.0.1`, `DNS:localhost`) and its key (PKCS #8)."""
        certificate, key = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        request, extensions = self._directory / f"{name}.csr", self._directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName={address}\nauthorityKeyIdentifier=keyid\n")
        _openssl("req", "-new", "-nodes", "-subj", f"/CN={name}", *_KEY, "-keyout", str(key), "-out", str(request))
        _openssl(
            *("x509", "-req", "-days", "1", "-in", str(request), "-extfile", str(extensions), "-out", str(certificate)),
            *("-CA", str(self.file), "-CAkey", str(self._directory / "ca.key"), "-CAcreateserial"),
        )
        return certificate, key


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=30)
