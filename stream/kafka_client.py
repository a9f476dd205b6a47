"""Settings to client arguments and topics: one place that knows security for aiokafka and for Faust."""

import socket
import ssl
from typing import Any, Final

import faust
from faust.types.auth import CredentialsT

from stream.errors import ConfigurationError
from stream.kafka_settings import KafkaSettings
from stream.kafka_token import FileToken
from stream.loopback import is_loopback
from stream.secret import read_secret
from stream.settings import Settings
from stream.topic_specs import TopicSpec, service_topics

_PASSWORD: Final = "INTERESTFLOW_KAFKA__SASL_PASSWORD"  # noqa: S105 - the variable's name


def client_kwargs(settings: KafkaSettings) -> dict[str, Any]:
    """Arguments that every aiokafka client takes.

    Raises:
        ConfigurationError: If the security settings contradict each other, name files that can't be used, or would send
            everything in plain text over a network.
    """
    _require_encryption(settings)
    kwargs: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "request_timeout_ms": int(settings.request_timeout_seconds * 1000),
        "security_protocol": settings.security_protocol,
    }
    if settings.security_protocol.startswith("SASL"):
        kwargs["sasl_mechanism"] = settings.sasl_mechanism
        if settings.sasl_mechanism == "OAUTHBEARER":
            kwargs["sasl_oauth_token_provider"] = _token(settings)
        else:
            kwargs["sasl_plain_username"], kwargs["sasl_plain_password"] = _login(settings)
    if settings.security_protocol.endswith("SSL"):
        kwargs["ssl_context"] = _ssl_context(settings)
    return kwargs


def settings_topics(settings: Settings) -> tuple[TopicSpec, ...]:
    """The topics that these settings ask for."""
    return service_topics(
        settings.app_id,
        settings.kafka.partitions,
        virtual_time=settings.virtual_time,
        limits=settings.privacy.limits(),
    )


def faust_credentials(settings: KafkaSettings) -> CredentialsT | None:
    """The same for Faust's own consumer and producer."""
    if settings.security_protocol.startswith("SASL"):
        context = _ssl_context(settings) if settings.security_protocol == "SASL_SSL" else None
        if settings.sasl_mechanism == "OAUTHBEARER":
            return faust.OAuthCredentials(oauth_cb=_token(settings), ssl_context=context)
        username, password = _login(settings)
        return faust.SASLCredentials(
            username=username,
            password=password,
            mechanism=settings.sasl_mechanism,
            ssl_context=context,
        )
    if settings.security_protocol == "SSL":
        return faust.SSLCredentials(context=_ssl_context(settings))
    return None


def group_instance_id(settings: KafkaSettings) -> str | None:
    """Who this worker is over restarts; None for a dynamic member.

    The host's name is that of the pod, which a StatefulSet keeps.
    """
    if not settings.static_membership:
        return None
    return settings.group_instance_id or socket.gethostname()


def _require_encryption(settings: KafkaSettings) -> None:
    if settings.security_protocol.endswith("SSL") or settings.allow_plaintext:
        return
    away = [server for server in settings.bootstrap_servers.split(",") if not is_loopback(server)]
    if away:
        raise ConfigurationError(
            f"INTERESTFLOW_KAFKA__SECURITY_PROTOCOL={settings.security_protocol} would send behaviour and passwords in plain "
            f"text to {', '.join(away)}: use SSL or SASL_SSL, or, where the network itself is safe, set "
            "INTERESTFLOW_KAFKA__ALLOW_PLAINTEXT=true"
        )


def _login(settings: KafkaSettings) -> tuple[str, str]:
    password = read_secret(_PASSWORD, settings.sasl_password, settings.sasl_password_file)
    needed = {
        "INTERESTFLOW_KAFKA__SASL_MECHANISM": settings.sasl_mechanism,
        "INTERESTFLOW_KAFKA__SASL_USERNAME": settings.sasl_username,
        f"{_PASSWORD}_FILE": password,
    }
    missing = [name for name, value in needed.items() if not value]
    if missing or settings.sasl_username is None or password is None:
        raise ConfigurationError(
            f"INTERESTFLOW_KAFKA__SECURITY_PROTOCOL={settings.security_protocol} needs {', '.join(missing)}"
        )
    return settings.sasl_username, password


def _token(settings: KafkaSettings) -> FileToken:
    if settings.sasl_token_file is None:
        raise ConfigurationError(
            "INTERESTFLOW_KAFKA__SASL_MECHANISM=OAUTHBEARER needs INTERESTFLOW_KAFKA__SASL_TOKEN_FILE"
        )
    if settings.sasl_username or settings.sasl_password or settings.sasl_password_file:
        raise ConfigurationError(
            "INTERESTFLOW_KAFKA__SASL_MECHANISM=OAUTHBEARER takes who we are from the token: unset "
            "INTERESTFLOW_KAFKA__SASL_USERNAME and the password"
        )
    return FileToken(settings.sasl_token_file)


def _ssl_context(settings: KafkaSettings) -> ssl.SSLContext:
    """Checks the broker's certificate and name; shows our own certificate if there is one."""
    ca, certificate, key = settings.ssl_ca_file, settings.ssl_cert_file, settings.ssl_key_file
    if (certificate is None) != (key is None):
        raise ConfigurationError(
            "INTERESTFLOW_KAFKA__SSL_CERT_FILE and INTERESTFLOW_KAFKA__SSL_KEY_FILE belong together: set both or none"
        )
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except OSError as error:
        raise ConfigurationError(
            f"INTERESTFLOW_KAFKA__SSL_CA_FILE={ca} can't be used ({error}): it must be a PEM file of certificates"
        ) from error
    if certificate is not None and key is not None:
        try:
            context.load_cert_chain(certificate, key)
        except OSError as error:
            raise ConfigurationError(
                f"INTERESTFLOW_KAFKA__SSL_CERT_FILE={certificate} and SSL_KEY_FILE={key} can't be used ({error}): they must be "
                "PEM files of one pair, the key without a password"
            ) from error
    return context
