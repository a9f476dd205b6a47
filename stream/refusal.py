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
    "sasl_oauth_token_provider",
)  # fmt: skip
_BEARER_REFUSED: Final = (
    "refuses the token of INTERESTFLOW_KAFKA__SASL_TOKEN_FILE: check its time, its issuer and its audience"
)


async def why_refused(client_kwargs: Mapping[str, Any]) -> str:
    """What is wrong and what to do, found by connecting once more to the first broker; ends in time.

    Args:
        client_kwargs: As ``stream.kafka_client.client_kwargs`` gives them.
    """
    arguments = {name: client_kwargs[name] for name in _TAKEN if name in client_kwargs}
    host, port, _ = collect_hosts(str(arguments.pop("bootstrap_servers")))[0]
    logged_in_by_token = False
    try:
        async with asyncio.timeout(_SECONDS):
            connection = await create_conn(host, port, **arguments)
            logged_in_by_token = arguments.get("sasl_mechanism") == "OAUTHBEARER"
            try:
                # aiokafka takes a refused token for a login; the broker ends the connection after one more answer.
                for _ in range(2):
                    await connection.send(MetadataRequest([]))
            finally:
                connection.close()
    except (OSError, KafkaError, TimeoutError) as error:
        return f"{host}:{port} {_BEARER_REFUSED if logged_in_by_token else _reason(error, client_kwargs)}"
    return f"{host}:{port} answers now: try again"


def _reason(error: Exception, client_kwargs: Mapping[str, Any]) -> str:
    if isinstance(error, (SaslAuthenticationFailed, AuthenticationFailedError)):
        if client_kwargs.get("sasl_mechanism") == "OAUTHBEARER":
            return _BEARER_REFUSED
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
