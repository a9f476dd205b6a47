"""``interestflow``: run a worker, prepare topics, and find out what is wrong with a setup."""

import asyncio
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from stream.acls import acl_script, worker_rules
from stream.archive.command import RecordOptions, record_events
from stream.changelog_loss import accept_loss
from stream.clock import SystemClock
from stream.contracts import write_contracts
from stream.decode import decode_erasure_key
from stream.demo.command import demo_at_terminal
from stream.demo.options import DemoOptions
from stream.dlq.cli import dlq
from stream.doctor import examine
from stream.embedded.stub_environment import stub_python
from stream.erasure.command import DEFAULT_WAIT_SECONDS, EraseOptions
from stream.erasure.command import erase as erase_user
from stream.errors import (
    ConfigurationError,
    FatalError,
    PartitionMismatchError,
    RejectionError,
    TransientError,
)
from stream.events import BEHAVIOUR_TOPICS
from stream.kafka_client import client_kwargs, settings_topics
from stream.logs import configure_logs
from stream.model_cli import model
from stream.replay.command import ReplayOptions, day, last_day, run_replay
from stream.replay.recording import (
    DEFAULT_HISTORY_DAYS,
    DEFAULT_SPEED,
    DEFAULT_START,
    DEFAULT_USERS,
    Recording,
)
from stream.settings import Settings, known_variables, load_settings, settings_in_force
from stream.topics import check_topics, create_topics
from stream.worker import Worker

#: Ends a worker that stopped for a named reason; an orchestrator may alert on it.
EXIT_FATAL = 3

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
topics = typer.Typer(no_args_is_help=True, help="Create and check the Kafka topics.")
app.add_typer(topics, name="topics")
app.add_typer(dlq, name="dlq")
app.add_typer(model, name="model")


UsersOption = Annotated[int, typer.Option(min=1, help="Households; those not trained on come first.")]
SpeedOption = Annotated[float, typer.Option(help="Virtual seconds per second.")]
StartOption = Annotated[str, typer.Option(help="First day of the paced part, 2017-01-01 to 2017-12-31.")]
UntilOption = Annotated[str, typer.Option(help="The day before which it ends, or end.")]
HistoryOption = Annotated[float, typer.Option(min=0, help="Days before the start, sent as fast as they go.")]
SummaryOption = Annotated[Path | None, typer.Option("--summary", "--json", help="Gets the figures as JSON.")]


@app.command()
def worker(
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the settings in force, secrets masked, and end.")
    ] = False,
) -> None:
    """Fold, score and decide until told to stop (SIGTERM or Ctrl-C)."""
    settings = load_settings()
    if print_config:
        for name, value in sorted(settings_in_force(settings).items()):
            typer.echo(f"{name}={value}")
        return
    configure_logs(settings.log_level)
    _run(_work(settings))


async def _work(settings: Settings) -> None:
    await Worker(settings).run()


@app.command()
def demo(
    seconds: Annotated[
        float | None, typer.Option(min=1, help="Length of the paced part; without it to the end.")
    ] = None,
    users: UsersOption = DEFAULT_USERS,
    speed: SpeedOption = DEFAULT_SPEED,
    start: StartOption = str(DEFAULT_START),
    until: UntilOption = "end",
    history_days: HistoryOption = DEFAULT_HISTORY_DAYS,
    summary: SummaryOption = None,
    health_port: Annotated[
        int | None, typer.Option(help="Of the worker's /metrics; without it a free one.")
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of a screen.")] = False,
) -> None:
    """Show the whole service on real shopping behaviour: its own broker, Triton and worker, nothing else needed."""
    demo_at_terminal(
        DemoOptions(
            model_repository=load_settings().model.repository,
            stub_python=stub_python(os.environ),
            recording=Recording(users, speed, day(start), last_day(until), history_days),
            seconds=seconds,
            summary=summary,
            health_port=health_port,
            plain=plain,
        )
    )


@app.command()
def replay(
    seconds: Annotated[
        float | None, typer.Option(min=1, help="End after so long; without it at the end.")
    ] = None,
    users: UsersOption = DEFAULT_USERS,
    speed: SpeedOption = DEFAULT_SPEED,
    start: StartOption = str(DEFAULT_START),
    until: UntilOption = "end",
    history_days: HistoryOption = DEFAULT_HISTORY_DAYS,
    campaigns: Annotated[bool, typer.Option(help="Send the 27 campaigns first.")] = True,
    summary: SummaryOption = None,
) -> None:
    """Send real shopping behaviour of 2017 to the Kafka of the settings, at its own pace."""
    recording = Recording(users, speed, day(start), last_day(until), history_days)
    run_replay(ReplayOptions(recording, seconds, campaigns, summary), load_settings())


@app.command()
def record(
    out: Annotated[Path, typer.Option(help="Directory of the archive; one that is there is gone on with.")],
    topic: Annotated[list[str] | None, typer.Option(help="Only this one; repeatable.")] = None,
    until: Annotated[
        str | None, typer.Option(help="Only what was written before: 90m, 24h, 7d ago, or a time in UTC.")
    ] = None,
    max_events: Annotated[int | None, typer.Option(min=1, help="End after so many.")] = None,
    name: Annotated[
        str, typer.Option(help="Names the data in a model's manifest.")
    ] = RecordOptions._field_defaults["name"],
) -> None:
    """Keep the behaviour topics up to their present ends as an event archive, which models are trained on."""
    topics_asked = tuple(topic) if topic else BEHAVIOUR_TOPICS
    options = RecordOptions(out, topics_asked, until, max_events, name)
    described = _run(record_events(options, load_settings(), SystemClock()))
    rejected = "".join(f", {count} rejected as {reason}" for reason, count in described.rejects.items())
    typer.echo(f"{out} holds {described.events} events{rejected}")


@app.command()
def erase(
    user: Annotated[str, typer.Argument(help="The user's id.")],
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds for a worker to carry it out.")
    ] = DEFAULT_WAIT_SECONDS,
    report: Annotated[Path | None, typer.Option("--json", help="Gets the proof as JSON.")] = None,
) -> None:
    """Erase a user, wait for the worker, and prove it: what is left where, and when it is gone."""
    try:
        decode_erasure_key(user.encode())
    except RejectionError as error:
        raise ConfigurationError(f"{user!r} is no user id: {error.detail}") from error
    proof = _run(erase_user(EraseOptions(user, wait), load_settings(), SystemClock()))
    if report is not None:
        report.write_bytes(proof.to_json())
    for line in proof.lines():
        typer.echo(line)
    if not proof.carried_out:
        typer.echo(f"no worker carried it out within {wait:g} s: it will when one runs; then ask again")
    if not proof.is_complete:
        raise typer.Exit(1)


@topics.command("create")
def topics_create() -> None:
    """Create the topics that are missing; existing ones stay as they are."""
    settings = load_settings()
    created = _run(
        create_topics(
            settings.kafka.bootstrap_servers,
            _specs(settings),
            replication_factor=settings.kafka.replication_factor,
            client_kwargs=client_kwargs(settings.kafka),
        )
    )
    typer.echo(f"created {', '.join(created)}" if created else "all topics exist already")


@topics.command("check")
def topics_check() -> None:
    """Check that the topics exist, are co-partitioned and are kept as they must be."""
    settings = load_settings()
    problems = _run(
        check_topics(
            settings.kafka.bootstrap_servers, _specs(settings), client_kwargs=client_kwargs(settings.kafka)
        )
    )
    for problem in problems:
        typer.echo(("PROBLEM " if problem.error else "note    ") + problem.message)
    if any(problem.error for problem in problems):
        raise typer.Exit(1)
    typer.echo("topics fit")


@topics.command("accept-loss")
def topics_accept_loss(
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it only say what is lost.")] = False,
) -> None:
    """Let workers start with what is left of changelogs whose first records were deleted."""
    for line in _run(accept_loss(load_settings(), is_sure=yes)):
        typer.echo(line)


@topics.command("acls")
def topics_acls(
    principal: Annotated[str, typer.Option(help="Who the worker is to Kafka.")] = "User:interestflow",
) -> None:
    """Print a script that gives a worker's principal the least rights it needs."""
    settings = load_settings()
    typer.echo(acl_script(worker_rules(settings.app_id, fencing=settings.kafka.fencing), principal), nl=False)


@app.command()
def doctor() -> None:
    """Say in plain words what is wrong with this setup, or that nothing is."""
    findings = _run(examine(load_settings()))
    for finding in findings:
        typer.echo(f"{'ok     ' if finding.ok else 'PROBLEM'} {finding.text}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@app.command("settings")
def settings_command() -> None:
    """List every INTERESTFLOW_ variable with its default."""
    for name, text in sorted(known_variables().items()):
        typer.echo(f"{name}={text}")


@app.command()
def contracts(
    out: Annotated[Path, typer.Option(help="Directory of the files.")] = Path("docs/contracts"),
) -> None:
    """Write the contracts of all topics: a JSON Schema per message and one AsyncAPI document."""
    for path in write_contracts(out):
        typer.echo(f"wrote {path}")


def _specs(settings: Settings) -> Any:
    return settings_topics(settings)


def _run(task: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(task)


def main() -> None:
    """Run the command line; a fatal error is one line on standard error and its own exit code."""
    try:
        app()
    except (ConfigurationError, PartitionMismatchError) as error:
        sys.stderr.write(f"interestflow: {error}\n")
        sys.exit(2)
    except (FatalError, TransientError) as error:
        sys.stderr.write(f"interestflow: {error}\n")
        sys.exit(EXIT_FATAL)


if __name__ == "__main__":
    main()
