"""Certificates that nobody but a test trusts."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

__all__ = ["self_signed"]


def self_signed(folder: Path, *, name: str, alternative: str) -> tuple[Path, ssl.SSLContext]:
    """Make a certificate; return its file, and what serves with it. Skips the test where there is no openssl.

    Args:
        folder: where the files go.
        name: the common name.
        alternative: the subject's alternative name, such as ``DNS:venue.example``.
    """
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed: the tests of certificates DID NOT RUN")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "1", "-subj", f"/CN={name}", "-addext", f"subjectAltName={alternative}"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context
