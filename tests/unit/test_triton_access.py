"""TLS and keys of Triton from the settings."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from stream.errors import ConfigurationError
from stream.model.access import OPEN, triton_access
from stream.setting_sections import ModelSettings


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    path = tmp_path / "some.pem"
    path.write_text("certificate")
    return path


def test_by_default_there_is_neither() -> None:
    assert triton_access(ModelSettings()) == OPEN


def test_tls_and_a_key_become_arguments_and_a_header(pem: Path) -> None:
    settings = ModelSettings(
        grpc_tls=True, grpc_ca_file=pem, grpc_cert_file=pem, grpc_key_file=pem, restricted_key=SecretStr("k")
    )

    access = triton_access(settings)

    assert access.tls == {
        "ssl": True,
        "root_certificates": str(pem),
        "certificate_chain": str(pem),
        "private_key": str(pem),
    }
    assert access.headers == {"triton-grpc-protocol-admin-key": "k"}


def test_a_key_may_have_another_name_and_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("from-file\n")

    access = triton_access(ModelSettings(restricted_key_name="infer-key", restricted_key_file=file))

    assert access.headers == {"triton-grpc-protocol-infer-key": "from-file"}


def test_certificates_without_tls_are_refused(pem: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        triton_access(ModelSettings(grpc_ca_file=pem))

    assert str(caught.value) == (
        "INTERESTFLOW_MODEL__GRPC_CA_FILE without TLS: set INTERESTFLOW_MODEL__GRPC_TLS=true, or unset it"
    )


def test_a_certificate_without_its_key_is_refused(pem: Path) -> None:
    with pytest.raises(ConfigurationError, match="belong together: set both or none"):
        triton_access(ModelSettings(grpc_tls=True, grpc_cert_file=pem))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"

    with pytest.raises(ConfigurationError) as caught:
        triton_access(ModelSettings(grpc_tls=True, grpc_ca_file=missing))

    assert str(caught.value) == (
        f"INTERESTFLOW_MODEL__GRPC_CA_FILE={missing} can't be read (No such file or directory): it must be a PEM file"
    )


def test_plain_text_over_a_network_is_refused_and_says_to_whom() -> None:
    with pytest.raises(ConfigurationError) as caught:
        triton_access(ModelSettings(grpc_url="triton:8001"))

    assert str(caught.value) == (
        "INTERESTFLOW_MODEL__GRPC_URL=triton:8001 without TLS would send texts and users' features in plain text: set "
        "INTERESTFLOW_MODEL__GRPC_TLS=true, or, where the network itself is safe, INTERESTFLOW_MODEL__GRPC_ALLOW_PLAINTEXT=true"
    )


@pytest.mark.parametrize("url", ["127.0.0.1:8001", "localhost:8001", "[::1]:8001", "unix:/run/triton.sock"])
def test_on_this_machine_plain_text_is_no_matter(url: str) -> None:
    assert triton_access(ModelSettings(grpc_url=url)) == OPEN


def test_plain_text_over_a_network_may_be_allowed() -> None:
    assert triton_access(ModelSettings(grpc_url="triton:8001", grpc_allow_plaintext=True)) == OPEN


def test_over_tls_any_triton_will_do() -> None:
    assert triton_access(ModelSettings(grpc_url="triton:8001", grpc_tls=True)).tls == {"ssl": True}
