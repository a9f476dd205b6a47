"""The embedded broker and the bundled Triton, started for real."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from tritonclient.utils import InferenceServerException

from stream.embedded.broker import TansuBroker
from stream.embedded.ports import LOOPBACK
from stream.embedded.probe import probe_cluster_id
from stream.embedded.triton_server import BundledTriton, TritonOptions
from stream.errors import EmbeddedServerError

pytestmark = pytest.mark.embedded

ECHO_CONFIG = """
name: "echo"
backend: "python"
max_batch_size: 8
input [ { name: "X" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "Y" data_type: TYPE_FP32 dims: [ -1 ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
"""
ECHO_MODEL = """
import triton_python_backend_utils as pb
class TritonPythonModel:
    def execute(self, requests):
        arrays = [pb.get_input_tensor_by_name(request, "X").as_numpy() for request in requests]
        return [pb.InferenceResponse([pb.Tensor("Y", array)]) for array in arrays]
"""


def write_echo_model(repository: Path, *, code: str = ECHO_MODEL) -> Path:
    (repository / "echo" / "1").mkdir(parents=True)
    (repository / "echo" / "config.pbtxt").write_text(ECHO_CONFIG)
    (repository / "echo" / "1" / "model.py").write_text(code)
    return repository


def echoed(server: BundledTriton, values: list[float]) -> list[float]:
    given = triton_grpc.InferInput("X", [1, len(values)], "FP32")
    given.set_data_from_numpy(np.array([values], dtype=np.float32))
    with triton_grpc.InferenceServerClient(server.grpc_url) as client:
        return list(client.infer("echo", [given]).as_numpy("Y")[0])


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory, stub_python: Path) -> Iterator[BundledTriton]:
    repository = write_echo_model(tmp_path_factory.mktemp("repository"))
    options = TritonOptions(cache_directory=tmp_path_factory.mktemp("triton"))
    with BundledTriton(repository, stub_python, models=["echo"], options=options) as server:
        yield server


async def test_a_record_comes_back_from_the_embedded_broker(tansu: TansuBroker) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=tansu.bootstrap_servers)
    await producer.start()
    await producer.send_and_wait("embedded.echo", b"hello", key=b"k")
    await producer.stop()

    consumer = AIOKafkaConsumer(
        "embedded.echo", bootstrap_servers=tansu.bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    record = await consumer.getone()
    await consumer.stop()

    assert (record.key, record.value) == (b"k", b"hello")


def test_a_restarted_broker_answers_at_the_same_address(tmp_path: Path) -> None:
    broker = TansuBroker(log_path=tmp_path / "tansu.log")
    port = int(broker.bootstrap_servers.rpartition(":")[2])

    with broker:
        first = probe_cluster_id(LOOPBACK, port)
        broker.kill()
        while_down = probe_cluster_id(LOOPBACK, port)
        broker.start()
        again = probe_cluster_id(LOOPBACK, port)

    assert (first, while_down, again) == ("tansu_cluster", None, "tansu_cluster")


def test_a_second_broker_on_a_taken_port_is_refused(tansu: TansuBroker, tmp_path: Path) -> None:
    port = int(tansu.bootstrap_servers.rpartition(":")[2])

    with pytest.raises(
        EmbeddedServerError, match=rf"port {port} of 127\.0\.0\.1 is taken, so the embedded broker"
    ):
        TansuBroker(port=port, log_path=tmp_path / "tansu.log").start()


def test_the_bundled_triton_runs_a_python_model(triton: BundledTriton) -> None:
    assert echoed(triton, [1.0, 2.5]) == [1.0, 2.5]


def test_the_bundled_triton_serves_latency_summaries(triton: BundledTriton) -> None:
    echoed(triton, [1.0])

    with urllib.request.urlopen(triton.metrics_url) as response:
        metrics = response.read().decode()

    assert 'nv_inference_request_summary_us{model="echo",version="1",quantile="0.99"}' in metrics


def test_repository_control_needs_the_admin_key_over_grpc(triton: BundledTriton) -> None:
    with triton_grpc.InferenceServerClient(triton.grpc_url) as client:
        with pytest.raises(InferenceServerException, match="This protocol is restricted"):
            client.get_model_repository_index()
        with pytest.raises(InferenceServerException, match="This protocol is restricted"):
            client.get_system_shared_memory_status()
        index = client.get_model_repository_index(headers=triton.admin_headers, as_json=True)

    assert index == {"models": [{"name": "echo", "version": "1", "state": "READY"}]}


def test_repository_control_needs_the_admin_key_over_http(triton: BundledTriton) -> None:
    url = f"{triton.http_url}/v2/repository/index"
    allowed = urllib.request.Request(url, method="POST", headers={"admin-key": triton.admin_key})

    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(url, method="POST"))
    caught.value.close()
    with urllib.request.urlopen(allowed) as response:
        index = json.load(response)

    assert caught.value.code == 403
    assert index == [{"name": "echo", "version": "1", "state": "READY"}]


def test_a_killed_triton_comes_back_at_the_same_address_and_leaves_no_shared_memory(
    tmp_path: Path, stub_python: Path
) -> None:
    repository = write_echo_model(tmp_path / "repository")
    options = TritonOptions(cache_directory=tmp_path / "cache")
    server = BundledTriton(repository, stub_python, models=["echo"], options=options)
    url = server.grpc_url
    before = regions_of_this_process()

    with server:
        server.kill()
        server.start()
        answer = echoed(server, [3.0])

    assert (server.grpc_url, answer) == (url, [3.0])
    assert not server.is_running
    assert regions_of_this_process() == before


def test_a_model_that_does_not_load_is_told_with_its_exception(tmp_path: Path, stub_python: Path) -> None:
    repository = write_echo_model(tmp_path / "repository", code="import no_such_package\n")
    server = BundledTriton(
        repository, stub_python, models=["echo"], options=TritonOptions(cache_directory=tmp_path / "cache")
    )

    with pytest.raises(EmbeddedServerError) as caught:
        server.start()

    assert "the bundled Triton exited with code 1 while it started" in str(caught.value)
    assert "No module named 'no_such_package'" in str(caught.value)


def regions_of_this_process() -> set[Path]:
    return set(Path("/dev/shm").glob(f"interestflow-{os.getpid()}-*"))
