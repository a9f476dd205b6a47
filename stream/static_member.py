"""A static member's seat in the group: a worker whose seat another one took must end, not take it back.

Kafka gives the seat of a static id to whoever joins with it last. aiokafka's heartbeats don't say the id, so that the
broker answers the first worker as if its session had run out, and it joins again: two workers with one id would throw
each other out for ever, each working on the same partitions for about a second at a time. Here the broker is asked with
the id before a worker joins again, and names what happened.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from aiokafka.errors import KafkaError
from aiokafka.protocol.api import Request, RequestStruct
from aiokafka.protocol.group import HeartbeatResponse_v1
from aiokafka.protocol.types import Int32, Schema, String
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from stream.errors import FatalError
from stream.heartbeats import watch_heartbeats
from stream.lease import Lease

_FENCED_INSTANCE_ID: Final = 82


class SeatTakenError(FatalError):
    """Another worker joined with this one's static id."""

    def __init__(self, group: str, instance_id: str) -> None:
        super().__init__(
            f"another worker joined {group!r} as the static member {instance_id!r} and has this one's partitions now: "
            "nothing is lost, it goes on at the committed offsets; give each worker its own "
            "INTERESTFLOW_KAFKA__GROUP_INSTANCE_ID (by default the host's name), and start this one again with it"
        )


class Seat(NamedTuple):
    """Who a member was when it was last given partitions."""

    group: str
    generation: int
    member_id: str
    instance_id: str


class _StaticHeartbeat_v3(RequestStruct):  # type: ignore[misc] # noqa: N801 - named as aiokafka's, which has no types
    API_KEY = 12
    API_VERSION = 3
    RESPONSE_TYPE = HeartbeatResponse_v1  # the same fields
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class StaticHeartbeat(Request[_StaticHeartbeat_v3]):  # type: ignore[misc] # as above
    """A heartbeat that says the static id; aiokafka has it up to version 1 only."""

    API_KEY = 12

    def __init__(self, seat: Seat) -> None:
        self._seat = seat

    def build(self, request_struct_class: type[_StaticHeartbeat_v3]) -> _StaticHeartbeat_v3:
        """The request in the version that the broker takes."""
        seat = self._seat
        return request_struct_class(seat.group, seat.generation, seat.member_id, seat.instance_id)


async def is_taken(coordinator: Any, seat: Seat) -> bool:
    """Whether another member has the seat; not if the broker does not tell, for then joining again does no harm.

    Args:
        coordinator: aiokafka's of the group.
        seat: Ours, as it was.
    """
    try:
        answer = await coordinator._send_req(StaticHeartbeat(seat))  # noqa: SLF001 - see the private names' test
    except KafkaError:
        return False
    return bool(answer.error_code == _FENCED_INSTANCE_ID)


class StaticMemberThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread; keeps the lease, and does not join again once its seat is taken."""

    _seat: Seat | None = None
    _watched: Any = None

    async def on_partitions_revoked(self, revoked: Iterable[TP]) -> None:
        """Called before every join but the first, also after the broker did not know the member any more.

        Raises:
            CancelledError: If the seat is taken; it ends aiokafka's coordination, which any other error would not.
        """
        if self._seat is not None and await is_taken(self._coordinator(), self._seat):
            app: Any = self.app  # a stream.app.StreamApp
            app.hooks.failed(SeatTakenError(self._seat.group, self._seat.instance_id))
            raise asyncio.CancelledError
        await super().on_partitions_revoked(set(revoked))

    async def on_partitions_assigned(self, assigned: Iterable[TP], generation_id: int = 0) -> None:
        """Note who we are and that we are one, then as stock."""
        lease, coordinator = self._lease(), self._coordinator()
        lease.renew(lease.now())
        if coordinator is not self._watched:
            watch_heartbeats(coordinator, lease)
            self._watched = coordinator
        instance_id = self.app.conf.consumer_group_instance_id
        if instance_id is not None:
            member_id = coordinator.member_id
            self._seat = Seat(self.app.conf.id, generation_id, member_id, instance_id)
        await super().on_partitions_assigned(set(assigned), generation_id)

    async def seek_inside(self, partition: TP, offset: int) -> None:
        """As ``seek``, but in this thread: it drops what was fetched, which may be given out at that moment.

        A seek from another thread could end the worker, or be undone by the records that it should bring back.

        Raises:
            IllegalStateError: If the partition is not assigned any more.
        """

        async def seek() -> None:
            self.seek(partition, offset)

        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(seek(), self.thread_loop))

    def _lease(self) -> Lease:
        app: Any = self.app  # a stream.app.StreamApp
        lease: Lease = app.hooks.lease
        return lease

    def _coordinator(self) -> Any:
        return self._ensure_consumer()._coordinator  # noqa: SLF001 - as Faust itself
