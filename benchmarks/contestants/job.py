"""What every contestant is told, the fold that they share, and how they are timed."""

import json
import os
import sys
import time
import zlib
from typing import Final, NamedTuple

from stream.decode import decode_event
from stream.errors import RejectionError
from stream.events import OWNED_TOPICS, Outcome
from stream.fold import Received, event_hash, fold_event, source_key
from stream.state import UserState
from stream.window import WindowPolicy

_RESULT: Final = "RESULT "
#: What a contestant prints when it waits for the events that count.
READY: Final = "READY"
_POLICY: Final = WindowPolicy()
_TOPIC_CODES: Final = {topic: code for code, topic in enumerate(OWNED_TOPICS)}


class Job(NamedTuple):
    """One run of one contestant."""

    bootstrap_servers: str
    #: ``kafka`` or ``tansu``.
    broker: str
    #: How many are timed.
    events: int
    #: For what the run keeps on disk.
    directory: str
    #: Folded before, untimed; then the contestant says that it is ready.
    warm_up_events: int = 0
    #: Where Triton listens; the model is off if empty.
    model_url: str = ""
    model_repository: str = ""


def job_from_command_line() -> Job:
    """The job that the benchmark gave as JSON in the only argument."""
    return Job(**json.loads(sys.argv[1]))


class Stopwatch:
    """From the first event handled to all of them durable and committed."""

    def __init__(self) -> None:
        self._started = 0.0
        self._cpu_started = 0.0
        self._seconds = 0.0
        self._cpu_seconds = 0.0

    def start(self) -> None:
        """Start at the first call; later ones are ignored."""
        if not self._started:
            self._started = time.monotonic()
            self._cpu_started = time.process_time()

    def stop(self) -> None:
        """Take the time; CPU seconds are those of all threads of this process."""
        self._seconds = time.monotonic() - self._started
        self._cpu_seconds = time.process_time() - self._cpu_started

    def report(self, events: int, **more: float) -> None:
        """Print the result and end the process at once: closing down is not part of the job."""
        result = {"events": events, "seconds": self._seconds, "cpu_seconds": self._cpu_seconds, **more}
        say(_RESULT + json.dumps(result))
        os._exit(0)


def say(line: str) -> None:
    """Tell the benchmark; not by print, because Faust puts its logger in the place of sys.stdout."""
    os.write(1, f"\n{line}\n".encode())


def result_in(line: str) -> dict[str, float] | None:
    """The result in a line that a contestant printed, or None if it holds none."""
    if not line.startswith(_RESULT):
        return None
    result: dict[str, float] = json.loads(line.removeprefix(_RESULT))
    return result


class SharedFold:
    """Decode and fold as the worker does, for contestants that have nothing but a loop over records.

    Holds the decoded states of all users, which spares them the decoding of a state at each event.
    """

    def __init__(self) -> None:
        self.states: dict[bytes, UserState] = {}
        self._texts: dict[int, str] = {}

    def fold(
        self, place: tuple[str, int], offset: int, timestamp_ms: int, key: bytes, value: bytes
    ) -> UserState:
        """The user's state after the event.

        Raises:
            ValueError: The event was not accepted; all events of the benchmark are good and come once.
        """
        topic, partition = place
        decoded = decode_event(value, timestamp_ms)
        event = decoded.event
        if event.user_id.encode() != key or event.event_id is None:
            raise RejectionError("key_mismatch", "the record's key is not the payload's user_id")
        state = self.states.get(key)
        if state is None:
            state = self.states[key] = UserState()
        event_id = event.event_id.encode()
        received = Received(
            source_key(_TOPIC_CODES[topic], partition, 0),
            offset,
            timestamp_ms,
            event_hash(event.source, event_id),
            zlib.crc32(value),
            event_id,
        )
        outcome = fold_event(state, decoded, received, _POLICY, self._texts)
        if outcome is not Outcome.ACCEPTED:
            msg = f"event {event.event_id} of {topic} partition {partition} offset {offset} is {outcome}"
            raise ValueError(msg)
        return state
