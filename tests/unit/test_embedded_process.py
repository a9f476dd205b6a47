"""ChildProcess: starts, reports, ends; with real small processes."""

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stream.clock import SystemClock, pause
from stream.embedded.ports import free_ports, require_free_port
from stream.embedded.probe import probe_cluster_id
from stream.embedded.process import ChildProcess
from stream.errors import EmbeddedServerError

FOREVER = "import threading; print('up', flush=True); threading.Event().wait()"
DEAF_TO_SIGTERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + FOREVER

Start = Callable[..., ChildProcess]


@pytest.fixture
def python_child(tmp_path: Path) -> Iterator[Start]:
    """Makes children that run a line of Python; what still runs is ended afterwards."""
    children: list[ChildProcess] = []

    def make(code: str, **kwargs: object) -> ChildProcess:
        child = ChildProcess(
            "the child",
            [sys.executable, "-c", code],
            log_path=tmp_path / "logs" / "child.log",
            **kwargs,  # type: ignore[arg-type]
        )
        children.append(child)
        return child

    yield make
    for child in children:
        child.kill()


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    clock = SystemClock()
    deadline = clock.monotonic_seconds() + seconds
    while not condition():
        if clock.monotonic_seconds() > deadline:
            return False
        pause(0.01)
    return True


def is_alive(pid: int) -> bool:
    """Zombies, which wait for whoever inherits them, count as gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_ready_child_has_a_pid_and_its_output_is_in_the_log(python_child: Start) -> None:
    child = python_child(FOREVER)

    child.start()
    child.wait_until_ready(lambda: "up" in child.log_tail(), timeout_seconds=20)

    assert is_alive(child.pid)
    assert child.log_tail() == "up"


def test_a_stopped_child_is_gone_and_can_be_started_again(python_child: Start) -> None:
    child = python_child(FOREVER)
    child.start()
    first = child.pid

    child.stop()
    child.start()

    assert not is_alive(first)
    assert child.is_running


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(python_child: Start) -> None:
    child = python_child(DEAF_TO_SIGTERM, stop_grace_seconds=0.1)
    child.start()
    child.wait_until_ready(lambda: "up" in child.log_tail(), timeout_seconds=20)
    pid = child.pid

    child.stop()

    assert not is_alive(pid)


def test_kill_takes_the_children_of_the_child_too(python_child: Start) -> None:
    child = python_child(
        f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {FOREVER!r}]).pid, flush=True); {FOREVER}"
    )
    child.start()
    child.wait_until_ready(lambda: "up" in child.log_tail(), timeout_seconds=20)
    grandchild = int(next(line for line in child.log_tail().splitlines() if line.isdigit()))

    child.kill()

    assert wait_for(lambda: not is_alive(grandchild))


def test_an_exit_while_starting_tells_the_code_and_the_end_of_this_start_log(python_child: Start) -> None:
    child = python_child("import sys; print('| a table'); sys.exit('no such disk')")
    child.log_path.parent.mkdir()
    child.log_path.write_text("a former run\n")
    child.start()

    with pytest.raises(EmbeddedServerError) as caught:
        child.wait_until_ready(lambda: False, timeout_seconds=20)

    assert str(caught.value) == (
        f"the child exited with code 1 while it started: mend what the end of its log says ({child.log_path}):\n"
        "no such disk"
    )
    assert not child.is_running


def test_a_child_that_is_not_ready_in_time_is_stopped_and_says_so(python_child: Start) -> None:
    child = python_child(FOREVER)
    child.start()
    pid = child.pid

    with pytest.raises(
        EmbeddedServerError, match=r"the child was not ready within 0\.1 s and was stopped: .*longer"
    ):
        child.wait_until_ready(lambda: False, timeout_seconds=0.1)

    assert not is_alive(pid)


def test_a_second_start_is_refused(python_child: Start) -> None:
    child = python_child(FOREVER)
    child.start()

    with pytest.raises(
        EmbeddedServerError, match=rf"the child runs already with pid {child.pid}: stop\(\) it"
    ):
        child.start()


def test_a_child_that_never_started_has_no_pid(python_child: Start) -> None:
    with pytest.raises(
        EmbeddedServerError, match=r"the child is not running, so it has no pid: call start\(\)"
    ):
        _ = python_child(FOREVER).pid


def test_changes_to_the_environment_reach_the_child_from_any_thread(
    python_child: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TO_REMOVE", "1")
    code = "import os; print(os.environ['TO_SET'], 'TO_REMOVE' in os.environ, flush=True); " + FOREVER
    child = python_child(code, environment={"TO_SET": "set", "TO_REMOVE": None})

    child.start()
    child.wait_until_ready(lambda: "up" in child.log_tail(), timeout_seconds=20)
    from_main_thread = child.log_tail()
    child.stop()
    thread = threading.Thread(target=child.start)
    thread.start()
    thread.join()
    child.wait_until_ready(lambda: "up" in child.log_tail(), timeout_seconds=20)

    assert (from_main_thread, child.log_tail()) == ("set False\nup", "set False\nup")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is a Linux thing")
def test_a_killed_parent_takes_the_child_with_it(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from stream.embedded.process import ChildProcess; import sys, threading;"
        f"child = ChildProcess('x', [sys.executable, '-c', {FOREVER!r}], log_path=Path({str(tmp_path / 'log')!r}));"
        "child.start(); child.wait_until_ready(lambda: 'up' in child.log_tail(), timeout_seconds=20);"
        "print(child.pid, flush=True); threading.Event().wait()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)

        parent.send_signal(signal.SIGKILL)
        parent.wait()

        assert wait_for(lambda: not is_alive(pid))


def test_free_ports_are_distinct() -> None:
    assert len(set(free_ports(8))) == 8


def test_a_taken_port_is_named_with_the_way_to_find_its_owner() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(EmbeddedServerError) as caught:
            require_free_port(port, server="the broker")

    assert str(caught.value) == (
        f"port {port} of 127.0.0.1 is taken, so the broker can't listen on it (Address already in use): stop the "
        f"program that `ss -ltnp 'sport = :{port}'` shows, or leave the port out to get a free one"
    )


def test_probing_a_port_where_nobody_listens_finds_no_broker() -> None:
    assert probe_cluster_id("127.0.0.1", free_ports(1)[0]) is None


@pytest.mark.parametrize(
    "answer", [b"", b"\0\0\0\x02hi", b"\0\0\0\x0c" + b"\0" * 12, b"HTTP/1.1 400 Bad Request\r\n"]
)
def test_probing_a_server_that_speaks_something_else_finds_no_broker(answer: bytes) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def reply() -> None:
            with server.accept()[0] as connection:
                connection.recv(1024)
                connection.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        found = probe_cluster_id("127.0.0.1", server.getsockname()[1])
        thread.join()

    assert found is None
