"""Settings to client arguments and topics: one place that knows security for aiokafka and for Faust."""

import ssl
from typing import Any

import faust
from faust.types.auth import CredentialsT

from stream.settings import KafkaSettings, Settings
from stream.topics import TopicSpec, service_topics


def client_kwargs(settings: KafkaSettings) -> dict[str, Any]:
    """Arguments that every aiokafka client takes."""
    kwargs: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "request_timeout_ms": int(settings.request_timeout_seconds * 1000),
        "security_protocol": settings.security_protocol,
    }
    if settings.sasl_mechanism is not None:
        kwargs["sasl_mechanism"] = settings.sasl_mechanism
        kwargs["sasl_plain_username"] = settings.sasl_username
        kwargs["sasl_plain_password"] = _password(settings)
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
        return faust.SASLCredentials(
            username=settings.sasl_username,
            password=_password(settings),
            mechanism=settings.sasl_mechanism,
            ssl_context=_ssl_context(settings) if settings.security_protocol == "SASL_SSL" else None,
        )
    if settings.security_protocol == "SSL":
        return faust.SSLCredentials(context=_ssl_context(settings))
    return None


def _password(settings: KafkaSettings) -> str | None:
    return settings.sasl_password.get_secret_value() if settings.sasl_password else None


def _ssl_context(settings: KafkaSettings) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(settings.ssl_ca_file) if settings.ssl_ca_file else None)
