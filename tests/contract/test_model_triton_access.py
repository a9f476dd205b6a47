"""The bundled Triton behind TLS, client certificates and a key for inference: who has them is answered."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from pydantic import SecretStr

from stream.embedded.triton_server import BundledTriton, TritonOptions
from stream.errors import ModelUnavailableError
from stream.model.access import triton_access
from stream.model.repository import load_bundle
from stream.model.triton import TritonModel
from stream.setting_sections import ModelSettings
from tests.tls import Pair, authority, signed
from tests.toy_repository import ENCODER, HEAD, write_toy_repository
from tests.toy_served import DIMENSIONS, LABELS, PATIENT, users

pytestmark = pytest.mark.embedded

_KEY = "open-sesame"


class Guarded(NamedTuple):
    """A server that lets in who shows a certificate of its authority and knows the key."""

    triton: BundledTriton
    repository: Path
    authority: Pair
    stranger: Pair
    client: Pair


@pytest.fixture(scope="module")
def guarded(stub_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    directory = tmp_path_factory.mktemp("guarded")
    ours, stranger = authority(directory, "authority"), authority(directory, "stranger")
    server, client = signed(directory, "server", ours), signed(directory, "client", ours)
    repository = write_toy_repository(directory / "models", labels=LABELS, dimensions=DIMENSIONS)
    flags = (
        "--grpc-use-ssl=true",
        "--grpc-use-ssl-mutual=true",
        f"--grpc-server-cert={server.certificate}",
        f"--grpc-server-key={server.key}",
        f"--grpc-root-cert={ours.certificate}",
        f"--grpc-restricted-protocol=inference:infer-key={_KEY}",
    )
    options = TritonOptions(extra_flags=flags, log_path=directory / "triton.log")
    with BundledTriton(repository, stub_python, models=[ENCODER, HEAD], options=options) as triton:
        yield Guarded(triton, repository, ours, stranger, client)


def _settings(guarded: Guarded, **changes: object) -> ModelSettings:
    given: dict[str, object] = {
        "grpc_url": guarded.triton.grpc_url,
        "grpc_tls": True,
        "grpc_ca_file": guarded.authority.certificate,
        "grpc_cert_file": guarded.client.certificate,
        "grpc_key_file": guarded.client.key,
        "restricted_key_name": "infer-key",
        "restricted_key": SecretStr(_KEY),
    }
    return ModelSettings.model_validate({**given, **changes})


def _model(guarded: Guarded, settings: ModelSettings) -> TritonModel:
    policy = PATIENT._replace(deadline_seconds=5.0)
    bundle = load_bundle(guarded.repository)
    return TritonModel(settings.grpc_url, bundle, policy=policy, access=triton_access(settings))


async def test_who_has_certificate_and_key_is_answered(guarded: Guarded) -> None:
    model = _model(guarded, _settings(guarded))

    scored = await model.score(*users(3))
    await model.close()

    assert scored.scores.shape == (3, LABELS)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"restricted_key": None}, "restricted", id="without the key"),
        pytest.param({"restricted_key": SecretStr("guess")}, "restricted", id="with another key"),
        pytest.param(
            {"grpc_cert_file": None, "grpc_key_file": None}, "UNAVAILABLE", id="without a certificate"
        ),
        pytest.param(
            {"grpc_tls": False, "grpc_ca_file": None, "grpc_cert_file": None, "grpc_key_file": None},
            "UNAVAILABLE",
            id="in plain text",
        ),
    ],
)
async def test_who_lacks_one_of_them_is_told_so(
    guarded: Guarded, changes: dict[str, object], says: str
) -> None:
    model = _model(guarded, _settings(guarded, **changes))

    with pytest.raises(ModelUnavailableError, match=says):
        await model.score(*users(1))
    await model.close()


async def test_a_server_of_another_authority_is_not_trusted(guarded: Guarded) -> None:
    model = _model(guarded, _settings(guarded, grpc_ca_file=guarded.stranger.certificate))

    with pytest.raises(ModelUnavailableError, match="UNAVAILABLE"):
        await model.score(*users(1))
    await model.close()
