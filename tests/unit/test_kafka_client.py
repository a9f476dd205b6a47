"""Settings to client arguments: what is refused before anything is sent."""

from pathlib import Path

import pytest
from aiokafka.errors import KafkaConnectionError
from pydantic import SecretStr

from stream.errors import ConfigurationError
from stream.kafka_client import client_kwargs, faust_credentials
from stream.kafka_settings import KafkaSettings
from stream.loopback import is_loopback


@pytest.mark.parametrize(
    "server", ["127.0.0.1:9092", "127.1.2.3:9092", "localhost:9092", "[::1]:9092", " localhost:1 "]
)
def test_the_loopback_is_known_by_any_of_its_names(server: str) -> None:
    assert is_loopback(server)


@pytest.mark.parametrize(
    "server", ["kafka:9092", "10.0.0.1:9092", "localhost.example:9092", "[fe80::1]:9092"]
)
def test_other_hosts_are_not_the_loopback(server: str) -> None:
    assert not is_loopback(server)


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SASL_PLAINTEXT"])
def test_plain_text_over_a_network_is_refused_and_says_to_whom(protocol: str) -> None:
    settings = KafkaSettings.model_validate(
        {"bootstrap_servers": "localhost:9092,kafka-1:9092", "security_protocol": protocol}
    )

    with pytest.raises(ConfigurationError) as caught:
        client_kwargs(settings)

    assert str(caught.value) == (
        f"INTERESTFLOW_KAFKA__SECURITY_PROTOCOL={protocol} would send behaviour and passwords in plain text to kafka-1:9092: "
        "use SSL or SASL_SSL, or, where the network itself is safe, set INTERESTFLOW_KAFKA__ALLOW_PLAINTEXT=true"
    )


def test_plain_text_over_a_network_may_be_allowed() -> None:
    kwargs = client_kwargs(KafkaSettings(bootstrap_servers="kafka:9092", allow_plaintext=True))

    assert kwargs == {
        "bootstrap_servers": "kafka:9092",
        "request_timeout_ms": 30_000,
        "security_protocol": "PLAINTEXT",
    }


def test_a_password_comes_from_its_file_without_the_line_end(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("hunter2\n")
    settings = KafkaSettings(
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username="u",
        sasl_password_file=file,
    )

    kwargs, credentials = client_kwargs(settings), faust_credentials(settings)

    assert (kwargs["sasl_plain_username"], kwargs["sasl_plain_password"]) == ("u", "hunter2")
    assert credentials is not None
    assert (credentials.username, credentials.password) == ("u", "hunter2")  # type: ignore[attr-defined]


def test_a_password_from_two_places_is_refused(tmp_path: Path) -> None:
    settings = KafkaSettings(
        security_protocol="SASL_SSL",
        sasl_mechanism="PLAIN",
        sasl_username="u",
        sasl_password=SecretStr("hunter2"),
        sasl_password_file=tmp_path / "password",
    )

    with pytest.raises(ConfigurationError) as caught:
        client_kwargs(settings)

    assert str(caught.value) == (
        "INTERESTFLOW_KAFKA__SASL_PASSWORD and INTERESTFLOW_KAFKA__SASL_PASSWORD_FILE are both set: unset one of them"
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, r"can't be read \(FileNotFoundError\)"), (b" \n", "is empty"), (b"\xff", "can't be read")],
)
def test_a_password_file_of_no_use_is_named(tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    settings = KafkaSettings(
        security_protocol="SASL_SSL", sasl_mechanism="PLAIN", sasl_username="u", sasl_password_file=file
    )

    with pytest.raises(ConfigurationError, match=f"INTERESTFLOW_KAFKA__SASL_PASSWORD_FILE={file} {says}"):
        client_kwargs(settings)


def test_what_a_login_lacks_is_named() -> None:
    with pytest.raises(ConfigurationError) as caught:
        client_kwargs(KafkaSettings(security_protocol="SASL_SSL", sasl_username="u"))

    assert str(caught.value) == (
        "INTERESTFLOW_KAFKA__SECURITY_PROTOCOL=SASL_SSL needs INTERESTFLOW_KAFKA__SASL_MECHANISM, "
        "INTERESTFLOW_KAFKA__SASL_PASSWORD_FILE"
    )


def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="belong together: set both or none"):
        client_kwargs(KafkaSettings(security_protocol="SSL", ssl_cert_file=tmp_path / "client.pem"))


def test_files_of_tls_that_are_none_are_named(tmp_path: Path) -> None:
    file = tmp_path / "not.pem"
    file.write_text("no certificate")

    with pytest.raises(ConfigurationError, match=rf"SSL_CA_FILE={file} can't be used"):
        client_kwargs(KafkaSettings(security_protocol="SSL", ssl_ca_file=file))
    with pytest.raises(
        ConfigurationError, match=rf"SSL_CERT_FILE={file} and SSL_KEY_FILE={file} can't be used"
    ):
        client_kwargs(KafkaSettings(security_protocol="SSL", ssl_cert_file=file, ssl_key_file=file))


async def test_a_token_is_read_from_its_file_at_every_login(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    settings = KafkaSettings(security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", sasl_token_file=file)

    kwargs, credentials = client_kwargs(settings), faust_credentials(settings)
    tokens = [await kwargs["sasl_oauth_token_provider"].token()]
    file.write_text("second\n")
    tokens.append(await credentials.oauth_cb.token())  # type: ignore[union-attr]

    assert tokens == ["first", "second"]
    assert kwargs["sasl_mechanism"] == "OAUTHBEARER"
    assert "sasl_plain_username" not in kwargs


async def test_a_token_that_is_missing_at_a_login_is_waited_for(tmp_path: Path) -> None:
    """An error of another kind would end aiokafka's tasks."""
    file = tmp_path / "token"
    file.write_text("first")
    settings = KafkaSettings(security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", sasl_token_file=file)
    provider = client_kwargs(settings)["sasl_oauth_token_provider"]
    file.unlink()

    with pytest.raises(KafkaConnectionError, match=rf"SASL_TOKEN_FILE={file} can't be read"):
        await provider.token()


def test_a_token_file_that_is_missing_from_the_start_is_named(tmp_path: Path) -> None:
    file = tmp_path / "token"
    settings = KafkaSettings(security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", sasl_token_file=file)

    with pytest.raises(ConfigurationError) as caught:
        client_kwargs(settings)

    assert str(caught.value) == (
        f"INTERESTFLOW_KAFKA__SASL_TOKEN_FILE={file} can't be read (FileNotFoundError): check that it is mounted and readable"
    )


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({}, "needs INTERESTFLOW_KAFKA__SASL_TOKEN_FILE"),
        (
            {"sasl_token_file": "token", "sasl_username": "u"},
            "unset INTERESTFLOW_KAFKA__SASL_USERNAME and the password",
        ),
    ],
)
def test_a_login_by_token_takes_a_token_and_no_user(more: dict[str, str], says: str) -> None:
    settings = KafkaSettings.model_validate(
        {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER", **more}
    )

    with pytest.raises(ConfigurationError, match=says):
        client_kwargs(settings)
