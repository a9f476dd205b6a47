"""What can happen to a model server: to a real one, and to the answers of a scripted one."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.servers import REPOSITORY
from stream.embedded.triton_server import BundledTriton
from stream.model.repository import HEAD, load_bundle
from tests.scripted_triton import Asked, ScriptedTriton, Tensors

Act = Callable[[], None]


class Fault(NamedTuple):
    """How it begins and ends; ``mend`` does nothing where the worker must mend it."""

    name: str
    begin: Act
    mend: Act


class FaultyTriton(ScriptedTriton):
    """Answers rightly until ``fault`` names what is wrong with the head's answers, and late by ``delay_seconds``."""

    fault: str | None = None
    delay_seconds: float = 0.0

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        """Triton's inference call."""
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        return await super().ModelInfer(request, context)

    def _right(self, asked: Asked) -> Tensors:
        del self.asked[:-1]  # a long run asks for gigabytes
        tensors = super()._right(asked)
        if "SCORES" not in tensors:
            return tensors
        # A real user's features are no probabilities.
        scores = 1.0 - np.exp2(-np.maximum(tensors["SCORES"], 0.0))
        match self.fault:
            case "nan":
                scores[0, 0] = np.nan
            case "wrong_shape":
                scores = np.concatenate([scores, scores[:, :1]], axis=1)
            case "wrong_labels":
                return {**tensors, "LABEL_SET": np.full((len(scores), 1), 1.0, dtype=np.float32)}
        return {**tensors, "SCORES": scores}


def python_process(triton: int, model: str) -> int:
    """The process id of a model's stub, a child of that server.

    Raises:
        LookupError: There is none.
    """
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            command = (process / "cmdline").read_bytes()
        except OSError:  # it ended while we looked
            continue
        if parent == triton and f"{model}_0_".encode() in command:
            return int(process.name)
    raise LookupError(f"Triton {triton} has no python process of {model}: is that model loaded?")


def real_faults(triton: BundledTriton) -> list[Fault]:
    """Of a real server."""

    def halt() -> None:
        os.kill(triton.pid, signal.SIGSTOP)

    def go_on() -> None:
        os.kill(triton.pid, signal.SIGCONT)

    def kill_process() -> None:
        os.kill(python_process(triton.pid, HEAD), signal.SIGKILL)

    return [
        Fault("server_halted", halt, go_on),
        Fault("server_killed", triton.kill, triton.start),
        Fault("process_killed", kill_process, _nothing),
    ]


def scripted_faults(server: FaultyTriton) -> list[Fault]:
    """Of its answers."""

    def begin(name: str) -> Act:
        return lambda: setattr(server, "fault", name)

    def mend() -> None:
        server.fault = None

    return [Fault(name, begin(name), mend) for name in ("nan", "wrong_shape", "wrong_labels")]


def _nothing() -> None:
    """The worker mends it."""


@contextmanager
def scripted() -> Iterator[tuple[str, FaultyTriton]]:
    """A scripted server in a thread of its own, and its address."""
    bundle = load_bundle(REPOSITORY)
    listening, loop, ended = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
    servers: list[FaultyTriton] = []

    async def serve() -> None:
        async with FaultyTriton(bundle.labels, bundle.dimensions) as server:
            servers.append(server)
            listening.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="scripted-triton")
    thread.start()
    listening.wait()
    try:
        yield servers[0].url, servers[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()
