"""Certificates for tests, made by openssl: an authority, and pairs that it signed for the loopback."""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.conftest import unavailable

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Pair(NamedTuple):
    """PEM files of a certificate and its key."""

    certificate: Path
    key: Path


def authority(directory: Path, name: str) -> Pair:
    """A new authority."""
    pair = Pair(directory / f"{name}.pem", directory / f"{name}.key")
    _request(pair, name, ["-addext", "basicConstraints=critical,CA:TRUE"])
    return pair


def signed(directory: Path, name: str, by: Pair) -> Pair:
    """A pair for 127.0.0.1 and localhost, signed by that authority."""
    pair = Pair(directory / f"{name}.pem", directory / f"{name}.key")
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    usage = "extendedKeyUsage=serverAuth,clientAuth"
    # Without it "-x509" makes one more authority, which a client may not be shown as a server.
    no_authority = "basicConstraints=critical,CA:FALSE"
    extensions = [word for extension in (names, usage, no_authority) for word in ("-addext", extension)]
    _request(pair, name, ["-CA", str(by.certificate), "-CAkey", str(by.key), *extensions])
    return pair


def _request(pair: Pair, name: str, arguments: list[str]) -> None:
    if shutil.which("openssl") is None:
        unavailable("no openssl on PATH to make certificates with")
    files = ["-keyout", str(pair.key), "-out", str(pair.certificate)]
    command = ["openssl", "req", "-x509", *_KEY, "-days", "2", "-subj", f"/CN={name}", *files, *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
