"""How a Triton server is reached: in plain text or by TLS, and with which key for what it restricts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from stream.errors import ConfigurationError
from stream.loopback import is_loopback
from stream.secret import read_secret
from stream.setting_sections import ModelSettings

#: Triton looks for a restricted protocol's key under this name and the one of its flag.
_HEADER_PREFIX: Final = "triton-grpc-protocol-"


class TritonAccess(NamedTuple):
    """Arguments of the gRPC client, and what goes with each call."""

    tls: Mapping[str, Any]
    headers: Mapping[str, str]


OPEN: Final = TritonAccess({}, {})


def triton_access(settings: ModelSettings) -> TritonAccess:
    """Access as the settings say.

    Raises:
        ConfigurationError: If they contradict each other, name files that can't be read, or would send everything in plain
            text over a network.
    """
    _require_encryption(settings)
    files = {
        "root_certificates": ("GRPC_CA_FILE", settings.grpc_ca_file),
        "certificate_chain": ("GRPC_CERT_FILE", settings.grpc_cert_file),
        "private_key": ("GRPC_KEY_FILE", settings.grpc_key_file),
    }
    named = {argument: _readable(name, path) for argument, (name, path) in files.items() if path is not None}
    if named and not settings.grpc_tls:
        listed = ", ".join(f"INTERESTFLOW_MODEL__{files[argument][0]}" for argument in named)
        raise ConfigurationError(f"{listed} without TLS: set INTERESTFLOW_MODEL__GRPC_TLS=true, or unset it")
    if ("certificate_chain" in named) != ("private_key" in named):
        raise ConfigurationError(
            "INTERESTFLOW_MODEL__GRPC_CERT_FILE and INTERESTFLOW_MODEL__GRPC_KEY_FILE belong together: set both or none"
        )
    secret = read_secret(
        "INTERESTFLOW_MODEL__RESTRICTED_KEY", settings.restricted_key, settings.restricted_key_file
    )
    headers = {} if secret is None else {_HEADER_PREFIX + settings.restricted_key_name: secret}
    return TritonAccess({"ssl": True, **named} if settings.grpc_tls else {}, headers)


def _require_encryption(settings: ModelSettings) -> None:
    url = settings.grpc_url
    if settings.grpc_tls or settings.grpc_allow_plaintext or url.startswith("unix:") or is_loopback(url):
        return
    raise ConfigurationError(
        f"INTERESTFLOW_MODEL__GRPC_URL={url} without TLS would send texts and users' features in plain text: set "
        "INTERESTFLOW_MODEL__GRPC_TLS=true, or, where the network itself is safe, INTERESTFLOW_MODEL__GRPC_ALLOW_PLAINTEXT=true"
    )


def _readable(name: str, path: Path) -> str:
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigurationError(
            f"INTERESTFLOW_MODEL__{name}={path} can't be read ({error.strerror}): it must be a PEM file"
        ) from error
    return str(path)
