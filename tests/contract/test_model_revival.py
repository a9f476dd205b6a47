"""A python process of the bundled Triton is killed; the worker's part that loads its model anew brings it back."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from benchmarks.model_fault_kinds import python_process
from stream.clock import SystemClock
from stream.errors import ModelUnavailableError
from stream.metrics import Metrics
from stream.model.access import TritonAccess
from stream.model.control import RepositoryControl
from stream.model.observer import NoObserver
from stream.model.probe import probe
from stream.model.repository import HEAD
from stream.model.reviver import Reviver
from stream.model.triton import TritonModel
from tests.toy_served import LABELS, PATIENT, Served, users

pytestmark = pytest.mark.embedded


def by_key(key: str) -> TritonAccess:
    """Access in plain text with the key of what the bundled Triton restricts."""
    return TritonAccess({}, {"triton-grpc-protocol-admin-key": key})


class _Told(NoObserver):
    """Tells the reviver of every call, as the worker does."""

    def __init__(self, reviver: Reviver) -> None:
        self._reviver = reviver

    def call_ended(self, model: str, outcome: str, rows: int, seconds: float) -> None:
        self._reviver.call_ended(model, outcome)


class Line:
    """A client, and what revives its server's processes."""

    def __init__(self, served: Served, control: RepositoryControl | None) -> None:
        self.metrics = Metrics()
        self.reviver = Reviver(control, SystemClock(), self.metrics)
        self.model = TritonModel(
            served.triton.grpc_url,
            served.bundle,
            policy=PATIENT._replace(deadline_seconds=1.0),
            observer=_Told(self.reviver),
        )

    def reloads(self, outcome: str) -> float:
        return (
            self.metrics.registry.get_sample_value(
                "interestflow_model_reloads_total", {"model": HEAD, "outcome": outcome}
            )
            or 0.0
        )


@pytest.fixture
async def line(mortal: Served) -> AsyncIterator[Line]:
    line = Line(mortal, RepositoryControl(mortal.triton.grpc_url, by_key(mortal.triton.admin_key)))
    assert await probe(line.model, LABELS) is None
    os.kill(python_process(mortal.triton.pid, HEAD), signal.SIGKILL)
    yield line
    await line.model.close()


async def until_answered(line: Line) -> None:
    for _ in range(100):
        try:
            await line.model.score(*users(1))
        except ModelUnavailableError:
            await line.reviver.look()
            await asyncio.sleep(0.2)
        else:
            return
    pytest.fail("the head's process was not revived")


async def test_a_dead_process_is_found_by_its_silence_and_its_model_loaded_anew(line: Line) -> None:
    await until_answered(line)

    assert line.reloads("ok") == 1
    assert await probe(line.model, LABELS) is None


async def test_a_wrong_key_is_counted_and_said(mortal: Served) -> None:
    with pytest.raises(
        ModelUnavailableError, match="check INTERESTFLOW_MODEL__RESTRICTED_KEY against Triton's own"
    ):
        await RepositoryControl(mortal.triton.grpc_url, by_key("wrong")).reload(HEAD)


async def test_a_server_that_is_halted_as_a_whole_is_not_asked_to_load(mortal: Served) -> None:
    os.kill(mortal.triton.pid, signal.SIGSTOP)
    control = RepositoryControl(mortal.triton.grpc_url, by_key(mortal.triton.admin_key))

    live = await control.is_live()
    os.kill(mortal.triton.pid, signal.SIGCONT)

    assert not live
    assert await control.is_live()
