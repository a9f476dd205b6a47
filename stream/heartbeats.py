"""Heartbeats of a group's member, as far as they renew its lease."""

from typing import Any

from aiokafka.errors import NoError
from aiokafka.protocol.group import HeartbeatRequest

from stream.lease import Lease


def watch_heartbeats(coordinator: Any, lease: Lease) -> None:
    """Renew the lease with each heartbeat that says that all is as it was.

    Not with one that says that partitions are being given anew: the broker waits for a member's answer no longer than the rebalance
    time-out, which began after the heartbeat before.

    Args:
        coordinator: aiokafka's of the group; wrapped once.
        lease: Of the member.
    """
    send = coordinator._send_req  # noqa: SLF001 - private, for there is no other way; see the private names' test

    async def send_and_look(request: Any) -> Any:
        asked = lease.now()
        answer = await send(request)
        if isinstance(request, HeartbeatRequest) and answer.error_code == NoError.errno:
            lease.renew(asked)
        return answer

    coordinator._send_req = send_and_look  # noqa: SLF001 - as above
