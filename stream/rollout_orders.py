"""What ``interestflow model`` does: read the rollout, check a version, write the next order, and tell how things stand."""

from typing import Final, NamedTuple
from uuid import uuid4

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from stream.clock import SystemClock
from stream.compacted import CompactedTopicReader, EndOffsets, latest_offsets
from stream.embedded.tansu_highwater import true_end_offsets
from stream.errors import ConfigurationError, ModelRepositoryError, ModelUnavailableError, RejectionError
from stream.events import ROLLOUT_TOPIC
from stream.kafka_client import client_kwargs
from stream.kafka_settings import KafkaSettings
from stream.lane import repository_control, require_level
from stream.model.access import triton_access
from stream.model.control import require_served
from stream.model.repository import ENCODER, HEAD, ModelBundle, load_bundle, versions
from stream.model.triton import CallPolicy, TritonModel
from stream.rollout import Rollout, RolloutRecords, Stamp, order_key, promoted, taken_back, taken_in, tried
from stream.settings import Settings

#: The first call of a version that was just loaded warms it up.
_PATIENCE: Final = CallPolicy(deadline_seconds=10.0)


class VersionLine(NamedTuple):
    """A version of the repository, as ``status`` shows it."""

    version: str
    roles: str
    served: str


class Standing(NamedTuple):
    """What ``status`` shows."""

    rollout: Rollout | None
    lines: list[VersionLine]


async def standing(settings: Settings) -> Standing:
    """The rollout in force, and of each version of the repository whether Triton answers with it."""
    rollout = (await read_records(settings)).in_force
    found = versions(settings.model.repository / HEAD)
    return Standing(
        rollout,
        [
            VersionLine(version, _roles(rollout, version), await _served(settings, version))
            for version in found
        ],
    )


async def order_trial(settings: Settings, version: str, share: float | None) -> Rollout:
    """Try a version beside the champion: in the shadow, or for a share of the users.

    Raises:
        FatalError: It can't be tried.
        ModelUnavailableError: Triton does not answer with it.
    """
    now = (await read_records(settings)).in_force
    order = tried(now, _champion_beside(settings, version), version, share, _stamp())
    await _require_usable(settings, version)
    return await _write(settings, order)


async def order_promotion(settings: Settings, version: str) -> Rollout:
    """Make a version the champion.

    Raises:
        FatalError: It does not fit.
        ModelUnavailableError: Triton does not answer with it.
    """
    now = (await read_records(settings)).in_force
    await _require_usable(settings, version)
    lower = [found for found in versions(settings.model.repository / HEAD) if int(found) < int(version)]
    return await _write(settings, promoted(now, version, lower[-1] if lower else None, _stamp()))


async def order_rollback(settings: Settings, reason: str) -> Rollout:
    """Take the challenger back, or the champion if there is none.

    Raises:
        ConfigurationError: There is nothing to go back to.
    """
    now = (await read_records(settings)).in_force
    # Not checked against Triton: going back must also work while it is down.
    return await _write(settings, taken_back(now, reason, _stamp()))


async def read_records(settings: Settings) -> RolloutRecords:
    """What the topic says now.

    Raises:
        ConfigurationError: It can't be read.
    """
    records = RolloutRecords()

    def on_record(key: bytes | None, value: bytes | None, _partition: int, _offset: int) -> None:
        nonlocal records
        try:
            records = taken_in(records, settings.app_id, key, value)
        except RejectionError:
            return  # workers don't follow it either

    reader = CompactedTopicReader(
        ROLLOUT_TOPIC, client_kwargs(settings.kafka), on_record, end_offsets=_end_offsets(settings.kafka)
    )
    await reader.start()
    try:
        while not reader.ready.is_set():
            await SystemClock().sleep(0.05)
            if reader.last_error is not None:
                raise ConfigurationError(
                    f"{ROLLOUT_TOPIC} can't be read ({reader.last_error}): check INTERESTFLOW_KAFKA__* and "
                    "`interestflow topics check`"
                ) from reader.last_error
    finally:
        await reader.stop()
    return records


async def _write(settings: Settings, order: Rollout) -> Rollout:
    producer = AIOKafkaProducer(**client_kwargs(settings.kafka))
    try:
        await producer.start()
        await producer.send_and_wait(ROLLOUT_TOPIC, order.to_bytes(), order_key(settings.app_id), partition=0)
    except KafkaError as error:
        raise ConfigurationError(
            f"{ROLLOUT_TOPIC} can't be written ({error!r}): nothing was changed; check INTERESTFLOW_KAFKA__*"
        ) from error
    finally:
        await producer.stop()
    return order


async def _require_usable(settings: Settings, version: str) -> None:
    """Pass if the version fits, and Triton answers with it, loading it if it may be told to."""
    bundle = load_bundle(settings.model.repository, version)
    require_level(settings, bundle)
    model = TritonModel(
        settings.model.grpc_url, bundle, policy=_PATIENCE, access=triton_access(settings.model)
    )
    try:
        await require_served(model, bundle, repository_control(settings.model))
    finally:
        await model.close()


def _champion_beside(settings: Settings, version: str) -> str:
    """The version that workers without a rollout are taken to use: the newest one but the one to try."""
    others = [found for found in versions(settings.model.repository / HEAD) if found != version]
    if not others:
        raise ConfigurationError(
            f"{settings.model.repository} has only version {version}: there is no champion to try it beside; "
            "deploy another version, or `interestflow model promote` this one"
        )
    return others[-1]


async def _served(settings: Settings, version: str) -> str:
    try:
        bundle: ModelBundle = load_bundle(settings.model.repository, version)
    except ModelRepositoryError as error:
        return f"can't be used: {error}"
    model = TritonModel(settings.model.grpc_url, bundle, access=triton_access(settings.model))
    try:
        await require_served(model, bundle, None)
    except ModelUnavailableError as error:
        return f"not served: {error}"
    finally:
        await model.close()
    return f"served, {bundle.labels} interests, with {ENCODER} {bundle.encoder.version}"


def _roles(rollout: Rollout | None, version: str) -> str:
    if rollout is None:
        return "-"
    roles = (
        (rollout.champion, "champion"),
        (rollout.challenger, f"challenger, {rollout.mode}"),
        (rollout.previous, "previous champion"),
    )
    return next((role for named, role in roles if named == version), "-")


def _stamp() -> Stamp:
    return Stamp(uuid4().hex, SystemClock().wall_ms())


def _end_offsets(kafka: KafkaSettings) -> EndOffsets:
    if kafka.broker == "kafka":
        return latest_offsets
    return lambda _, partitions: true_end_offsets(
        kafka.bootstrap_servers, partitions, client_kwargs=client_kwargs(kafka)
    )
