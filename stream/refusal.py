"""Why a broker can't be used: aiokafka only logs it, and says that it could not bootstrap."""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any, Final

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import AuthenticationFailedError, KafkaError, SaslAuthenticationFailed
from aiokafka.protocol.metadata import MetadataRequest

_SECONDS: Final = 10.0
_TAKEN: Final = (
    "bootstrap_servers", "security_protocol", "ssl_context", "sasl_mechanism", "sasl_plain_username", "sasl_plain_password",
)  # fmt: skip


async def why_refused(client_kwargs: Mapping[str, Any]) -> str:
    """What is wrong and what to do, found by connecting once more to the first broker; ends in time.

    Args:
        client_kwargs: As ``stream.kafka_client.client_kwargs`` gives them.
    """
    arguments = {name: client_kwargs[name] for name in _TAKEN if name in client_kwargs}
    host, port, _ = collect_hosts(str(arguments.pop("bootstrap_servers")))[0]
    try:
        async with asyncio.timeout(_SECONDS):
            connection = await create_conn(host, port, **arguments)
            try:
                await connection.send(MetadataRequest([]))
            finally:
                connection.close()
    except (OSError, KafkaError, TimeoutError) as error:
        return f"{host}:{port} {_reason(error, client_kwargs)}"
    return f"{host}:{port} answers now: try again"


def _reason(error: Exception, client_kwargs: Mapping[str, Any]) -> str:
    if isinstance(error, (SaslAuthenticationFailed, AuthenticationFailedError)):
        user, mechanism = client_kwargs.get("sasl_plain_username"), client_kwargs.get("sasl_mechanism")
        return (
            f"refuses the user {user!r} ({mechanism}): check INTERESTFLOW_KAFKA__SASL_USERNAME, __SASL_MECHANISM and the "
            "password"
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"shows a certificate that can't be trusted ({error.verify_message}): INTERESTFLOW_KAFKA__SSL_CA_FILE must hold "
            "the authority that signed it, and INTERESTFLOW_KAFKA__BOOTSTRAP_SERVERS the name that it was made for"
        )
    if isinstance(error, ssl.SSLError):
        return f"speaks no TLS that fits ({error.reason}): check INTERESTFLOW_KAFKA__SECURITY_PROTOCOL and the port"
    if str(client_kwargs.get("security_protocol")).endswith("SSL") and not isinstance(error, TimeoutError):
        return (
            f"ended the connection ({error!r}): if it asks for a certificate of ours, set INTERESTFLOW_KAFKA__SSL_CERT_FILE "
            "and __SSL_KEY_FILE; else check that it runs and that the port is one of TLS"
        )
    return (
        f"does not answer ({error!r}): check that it runs, INTERESTFLOW_KAFKA__BOOTSTRAP_SERVERS and "
        "INTERESTFLOW_KAFKA__SECURITY_PROTOCOL"
    )
