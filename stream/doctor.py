"""``interestflow doctor``: what is wrong with a setup, in plain words, each with its cure."""

import shutil
from typing import NamedTuple

from stream.changelog_loss import find_cuts
from stream.errors import ConfigurationError, FatalError, ModelRepositoryError, ModelUnavailableError
from stream.kafka_client import client_kwargs, settings_topics
from stream.model.access import triton_access
from stream.model.images import read_images
from stream.model.item_vectors import item_images
from stream.model.probe import probe
from stream.model.repository import ModelBundle, load_bundle
from stream.model.triton import TritonModel
from stream.rollout_orders import read_records
from stream.settings import Settings
from stream.topics import check_topics

#: A RocksDB store with less than this will soon stop.
_FREE_BYTES = 1_000_000_000


class Finding(NamedTuple):
    """One thing that was looked at."""

    ok: bool
    text: str


async def examine(settings: Settings) -> list[Finding]:
    """Look at Kafka, the topics, the model repository, Triton and the disk."""
    findings = await _kafka(settings)
    if all(finding.ok for finding in findings):
        findings += await _changelogs(settings)
    version = None
    if settings.model.enabled and all(finding.ok for finding in findings):
        rollout = (await read_records(settings)).in_force
        version = None if rollout is None else rollout.champion
    bundle_finding, bundle = _repository(settings, version)
    findings.append(bundle_finding)
    if bundle is not None:
        findings += examine_images(settings, bundle)
        findings.append(await _triton(settings, bundle))
    findings.append(_disk(settings))
    return findings


async def _kafka(settings: Settings) -> list[Finding]:
    kafka = settings.kafka
    specs = settings_topics(settings)
    try:
        problems = await check_topics(kafka.bootstrap_servers, specs, client_kwargs=client_kwargs(kafka))
    except FatalError as error:
        return [Finding(ok=False, text=str(error))]
    found = [Finding(ok=problem.error is None, text=problem.message) for problem in problems]
    return [Finding(ok=True, text=f"Kafka answers at {kafka.bootstrap_servers}"), *found]


async def _changelogs(settings: Settings) -> list[Finding]:
    cuts = await find_cuts(settings)
    cure = "only a worker that kept its store can go on; see `interestflow topics accept-loss` (docs/reliability.md)"
    return [Finding(ok=False, text=f"{cut}: {cure}") for cut in cuts]


def _repository(settings: Settings, version: str | None) -> tuple[Finding, ModelBundle | None]:
    """Of the champion; None: no rollout names one, and workers take the newest."""
    if not settings.model.enabled:
        return Finding(ok=True, text="INTERESTFLOW_MODEL__ENABLED is false: nothing is scored"), None
    try:
        bundle = load_bundle(settings.model.repository, version)
    except ModelRepositoryError as error:
        return Finding(ok=False, text=str(error)), None
    if bundle.interest_level != settings.window.interest_level:
        text = (
            f"INTERESTFLOW_WINDOW__INTEREST_LEVEL is {settings.window.interest_level}, the model was trained with "
            f"{bundle.interest_level}; set it to {bundle.interest_level}"
        )
        return Finding(ok=False, text=text), bundle
    text = f"{settings.model.repository} holds {bundle.head.name} {bundle.head.version} with {bundle.labels} interests"
    return Finding(ok=True, text=text), bundle


def examine_images(settings: Settings, bundle: ModelBundle) -> list[Finding]:
    """Whether the image catalogue can be read and fits the version; nothing if there is none."""
    if settings.model.images is None:
        return []
    try:
        catalogue = read_images(settings.model.images)
        images = item_images(catalogue, bundle)
    except ConfigurationError as error:
        return [Finding(ok=False, text=str(error))]
    use = (
        "are fused with the items' texts"
        if images
        else "are not used: the version was trained on texts alone"
    )
    return [Finding(ok=True, text=f"the {len(catalogue)} images of {settings.model.images} {use}")]


async def _triton(settings: Settings, bundle: ModelBundle) -> Finding:
    model = TritonModel(settings.model.grpc_url, bundle, access=triton_access(settings.model))
    try:
        problem: ModelUnavailableError | None = await probe(model, bundle.labels)
    finally:
        await model.close()
    if problem is not None:
        return Finding(ok=False, text=str(problem))
    return Finding(
        ok=True, text=f"Triton answers at {settings.model.grpc_url} with the versions of the repository"
    )


def _disk(settings: Settings) -> Finding:
    if settings.store.backend == "memory":
        return Finding(ok=True, text="state is kept in memory and recovered from its changelog")
    directory = settings.store.directory
    directory.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(directory).free
    return Finding(ok=free >= _FREE_BYTES, text=f"{directory} has {free // 1_000_000} MB free")
