"""Through SCRAM and tokens over TLS and through client certificates on real Kafka, and what is said when one of them is wrong."""

import asyncio
import base64
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest

from stream.clock import SystemClock, pause
from stream.events import DEAD_LETTER_TOPIC
from tests.behaviour_feed import PARTITIONS, events, produce
from tests.brokers import Broker, recreate_topics
from tests.conftest import unavailable
from tests.kafka_node import KafkaNode, KafkaUnavailableError
from tests.tls import Pair, authority, signed
from tests.worker_process import WorkerProcess, read_topic, total

pytestmark = pytest.mark.kafka

_USER, _PASSWORD = "worker", "correct-horse"


class Secured(NamedTuple):
    """A node with listeners of every kind, and what a client needs for them."""

    node: KafkaNode
    authority: Pair
    stranger: Pair
    client: Pair
    password_file: Path

    @property
    def broker(self) -> Broker:
        return Broker("kafka", self.node.bootstrap_servers)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory = tmp_path_factory.mktemp("secured")
    ours, stranger = authority(directory, "authority"), authority(directory, "stranger")
    server, client = signed(directory, "server", ours), signed(directory, "client", ours)
    keystore = directory / "keystore.pem"
    keystore.write_text(server.key.read_text() + server.certificate.read_text())
    password_file = directory / "password"
    password_file.write_text(f"{_PASSWORD}\n")
    properties = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(keystore),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(ours.certificate),
        "listener.name.mutual.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.token.sasl.enabled.mechanisms": "OAUTHBEARER",
        # Kafka's own module for tokens without a signature: it checks who and until when.
        "listener.name.token.oauthbearer.sasl.jaas.config": "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;",
        "listener.name.token.oauthbearer.sasl.server.callback.handler.class": "org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler",
        # A connection lives as long as its token.
        "listener.name.token.oauthbearer.connections.max.reauth.ms": "600000",
        "listener.name.scram.scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
    }
    try:
        node = KafkaNode(
            directory,
            properties=properties,
            listeners={"SCRAM": "SASL_SSL", "MUTUAL": "SSL", "TOKEN": "SASL_SSL"},
            scram_users={_USER: _PASSWORD},
        )
    except KafkaUnavailableError as error:
        unavailable(str(error))
    with node:
        yield Secured(node, ours, stranger, client, password_file)


def _scram(secured: Secured) -> dict[str, str]:
    return {
        "KAFKA__BOOTSTRAP_SERVERS": secured.node.listener("SCRAM"),
        "KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA__SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA__SASL_USERNAME": _USER,
        "KAFKA__SASL_PASSWORD_FILE": str(secured.password_file),
        "KAFKA__SSL_CA_FILE": str(secured.authority.certificate),
    }


def _mutual(secured: Secured) -> dict[str, str]:
    return {
        "KAFKA__BOOTSTRAP_SERVERS": secured.node.listener("MUTUAL"),
        "KAFKA__SECURITY_PROTOCOL": "SSL",
        "KAFKA__SSL_CA_FILE": str(secured.authority.certificate),
        "KAFKA__SSL_CERT_FILE": str(secured.client.certificate),
        "KAFKA__SSL_KEY_FILE": str(secured.client.key),
    }


def _by_token(secured: Secured, file: Path) -> dict[str, str]:
    return {
        "KAFKA__BOOTSTRAP_SERVERS": secured.node.listener("TOKEN"),
        "KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA__SASL_MECHANISM": "OAUTHBEARER",
        "KAFKA__SASL_TOKEN_FILE": str(file),
        "KAFKA__SSL_CA_FILE": str(secured.authority.certificate),
    }


def _token(user: str, *, seconds: int) -> str:
    """A token that holds for so long, without a signature."""
    now = SystemClock().wall_ms() // 1000
    parts = ({"alg": "none"}, {"sub": user, "iat": now, "exp": now + seconds})
    encoded = [base64.urlsafe_b64encode(orjson.dumps(part)).rstrip(b"=").decode() for part in parts]
    return ".".join((*encoded, ""))


def _worker(directory: Path, secured: Secured, settings: dict[str, str]) -> WorkerProcess:
    return WorkerProcess(directory, secured.node.bootstrap_servers, **{"APP_ID": "secured", **settings})


@pytest.mark.parametrize("settings", [_scram, _mutual], ids=["SCRAM-SHA-512 over TLS", "client certificates"])
def test_a_worker_consumes_and_produces_over_a_secured_listener(
    secured: Secured, tmp_path: Path, settings: object
) -> None:
    asyncio.run(recreate_topics(secured.broker, "secured"))
    assert callable(settings)
    bad = [item._replace(value=b"{not json") for item in events(10)]

    with _worker(tmp_path, secured, settings(secured)) as worker:
        asyncio.run(produce(secured.node.bootstrap_servers, [*events(200), *bad]))
        samples = worker.until(lambda samples: total(samples, "events") >= 210)
        code = worker.end(signal.SIGTERM)

    letters = asyncio.run(read_topic(secured.node.bootstrap_servers, DEAD_LETTER_TOPIC, PARTITIONS))
    assert total(samples, "dead_letters") == len(letters) == 10
    assert code == 0


def test_a_worker_with_a_token_outlives_it_by_reading_the_next_from_the_file(
    secured: Secured, tmp_path: Path
) -> None:
    asyncio.run(recreate_topics(secured.broker, "secured"))
    file = tmp_path / "token"
    ends_at_ms = SystemClock().wall_ms() + 40_000
    file.write_text(_token(_USER, seconds=40))

    with _worker(tmp_path, secured, _by_token(secured, file)) as worker:
        asyncio.run(produce(secured.node.bootstrap_servers, events(200)))
        worker.until(lambda samples: total(samples, "events") >= 200)
        file.write_text(_token(_USER, seconds=3600))
        # The broker ends each connection with the token that it was made with.
        pause(max(ends_at_ms - SystemClock().wall_ms(), 0) / 1000 + 1.0)
        asyncio.run(produce(secured.node.bootstrap_servers, events(100, users=7)))
        samples = worker.until(lambda samples: total(samples, "events") >= 300)
        code = worker.end(signal.SIGTERM)

    assert samples["interestflow_ready"] == 1
    assert code == 0


def test_a_token_that_ran_out_ends_the_worker_and_names_the_file(secured: Secured, tmp_path: Path) -> None:
    file = tmp_path / "token"
    token = _token(_USER, seconds=-60)
    file.write_text(token)

    said = _refusal(tmp_path, secured, _by_token(secured, file))

    assert "refuses the token of INTERESTFLOW_KAFKA__SASL_TOKEN_FILE" in said
    assert token not in said


def _refusal(directory: Path, secured: Secured, settings: dict[str, str]) -> str:
    """What the worker says last as it ends by itself."""
    with _worker(directory, secured, settings) as worker:
        assert worker.wait() == 2
        assert _PASSWORD not in worker.log
        return worker.log.splitlines()[-1]


def test_a_wrong_password_ends_the_worker_and_names_the_user(secured: Secured, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("battery-staple")

    said = _refusal(tmp_path, secured, {**_scram(secured), "KAFKA__SASL_PASSWORD_FILE": str(wrong)})

    assert f"{secured.node.listener('SCRAM')} refuses the user 'worker' (SCRAM-SHA-512)" in said
    assert "battery-staple" not in said


def test_a_broker_of_an_unknown_authority_is_not_trusted(secured: Secured, tmp_path: Path) -> None:
    stranger = str(secured.stranger.certificate)

    said = _refusal(tmp_path, secured, {**_scram(secured), "KAFKA__SSL_CA_FILE": stranger})

    assert "shows a certificate that can't be trusted (unable to get local issuer certificate)" in said


def test_without_our_certificate_a_broker_that_asks_for_it_is_named(secured: Secured, tmp_path: Path) -> None:
    settings = _mutual(secured)
    del settings["KAFKA__SSL_CERT_FILE"], settings["KAFKA__SSL_KEY_FILE"]

    said = _refusal(tmp_path, secured, settings)

    assert "set INTERESTFLOW_KAFKA__SSL_CERT_FILE and __SSL_KEY_FILE" in said


def test_tls_on_a_plain_port_is_named(secured: Secured, tmp_path: Path) -> None:
    said = _refusal(
        tmp_path, secured, {**_mutual(secured), "KAFKA__BOOTSTRAP_SERVERS": secured.node.bootstrap_servers}
    )

    assert "can't be used" in said
    assert "TLS" in said
