"""Speed of the model: the shipped two stages against BERT over 128 tokens of the window, both through Triton.

    python -m benchmarks.model [--json FILE] [--repeats 3] [--seconds 6]

An update is one user with one new behaviour. Both ways run on one server, on the same engine, in turns; what of the
state becomes features or text is left out on both sides. See docs/benchmarks.md.
"""

import argparse
import asyncio
import re
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.environments import throw_away_environment
from benchmarks.load import CONCURRENCY, Latency, Throughput, closed_loop, open_loop
from benchmarks.machine import machine, versions
from benchmarks.model_paths import WINDOW_TOKENS, PlainBert, TwoStage, UpdatePath
from benchmarks.report import keep, ratio, table
from benchmarks.servers import MODELS, REPOSITORY, TRITON_LOG, bundled_triton
from stream.model.repository import ModelBundle, ModelVersion, load_bundle

TWO_STAGE_90: Final = "two stages, 90 % of texts known"
TWO_STAGE_99: Final = "two stages, 99 % of texts known"
PLAIN: Final = f"plain BERT, {WINDOW_TOKENS} tokens"
#: Same name as in benchmarks.plain_bert_repository, which needs the onnx package and so runs elsewhere.
_PLAIN_BERT: Final = ModelVersion("plain_bert", "1")
_ONE_INSTANCE: Final = "kind: KIND_CPU count: 1"
_TWO_INSTANCES: Final = "kind: KIND_CPU count: 2"
_DISTRIBUTIONS: Final = ("tritonclient", "tokenizers", "numpy")
#: Of what the path can take; busy, and not yet queueing up.
_MODERATE_SHARE: Final = 0.5

Paths = dict[str, Callable[[], UpdatePath]]


def write_repository(directory: Path) -> None:
    """The shipped pair and plain BERT beside each other.

    The pair runs in two processes, so plain BERT gets two instances: each way may use two cores.
    """
    for model in MODELS:
        shutil.copytree(REPOSITORY / model, directory / model)
    python = throw_away_environment("bench-onnx", ("onnx", "numpy"))
    script = Path(__file__).with_name("plain_bert_repository.py")
    subprocess.run(
        [str(python), str(script), str(directory), "--repository", str(REPOSITORY)], check=True, timeout=300
    )
    config = directory / _PLAIN_BERT.name / "config.pbtxt"
    text = config.read_text(encoding="utf-8")
    assert text.count(_ONE_INSTANCE) == 1, f"{config} has another instance group than it used to"
    config.write_text(text.replace(_ONE_INSTANCE, _TWO_INSTANCES), encoding="utf-8")


def paths(url: str, bundle: ModelBundle) -> Paths:
    """Each is made anew for every cell: caches and connections belong to one event loop."""
    return {
        TWO_STAGE_90: lambda: TwoStage(url, bundle, 0.90),
        PLAIN: lambda: PlainBert(url, bundle, _PLAIN_BERT),
        TWO_STAGE_99: lambda: TwoStage(url, bundle, 0.99),
    }


async def _throughput(make: Callable[[], UpdatePath], seconds: float) -> Throughput:
    path = make()
    try:
        return await closed_loop(path, seconds)
    finally:
        await path.close()


async def _latency(make: Callable[[], UpdatePath], rate: float, seconds: float) -> Latency:
    path = make()
    try:
        return await open_loop(path, rate, seconds)
    finally:
        await path.close()


def measure(ways: Paths, repeats: int, seconds: float) -> dict[str, Any]:
    """Throughput in turns, then latencies at a moderate rate each."""
    runs: dict[str, list[Throughput]] = {name: [] for name in ways}
    for repeat in range(repeats):
        for name, make in ways.items():
            run = asyncio.run(_throughput(make, seconds))
            runs[name].append(run)
            print(
                f"repeat {repeat + 1}: {name}: {run.updates_per_second:,.0f} updates/s, "
                f"{run.cpu_ms_per_update:.2f} ms of CPU each (others used {run.others_cores:.2f} cores)",
                flush=True,
            )
    rates = {name: statistics.median(run.updates_per_second for run in own) for name, own in runs.items()}
    cpu = {name: statistics.median(run.cpu_ms_per_update for run in own) for name, own in runs.items()}
    latencies = {
        name: asyncio.run(_latency(make, rates[name] * _MODERATE_SHARE, seconds))
        for name, make in ways.items()
    }
    return {
        "ratio_vs_plain_bert": ratio(rates[TWO_STAGE_90], rates[PLAIN]),
        "ratio_vs_plain_bert_99": ratio(rates[TWO_STAGE_99], rates[PLAIN]),
        "cpu_ratio_vs_plain_bert": ratio(cpu[PLAIN], cpu[TWO_STAGE_90]),
        "updates_per_second": {name: round(rate) for name, rate in rates.items()},
        "cpu_ms_per_update": {name: round(spent, 2) for name, spent in cpu.items()},
        "latency": {name: latency._asdict() for name, latency in latencies.items()},
        "concurrency": CONCURRENCY,
        "repeats": {
            name: [{field: round(value, 2) for field, value in run._asdict().items()} for run in own]
            for name, own in runs.items()
        },
    }


def engines(log: str) -> dict[str, str]:
    """Which engine each model runs on, as the models say in Triton's log."""
    return dict(re.findall(r"(\w+) runs on (\w+)", log))


def show(told: dict[str, Any]) -> None:
    """Print the table and the ratios."""
    rows = [
        (
            name,
            rate,
            told["cpu_ms_per_update"][name],
            " ".join(f"{repeat['updates_per_second']:,.0f}" for repeat in told["repeats"][name]),
            told["latency"][name]["offered_per_second"],
            told["latency"][name]["p50_ms"],
            told["latency"][name]["p99_ms"],
            told["latency"][name]["rows_per_call"],
        )
        for name, rate in told["updates_per_second"].items()
    ]
    print()
    header = ("path", "updates/s", "CPU ms", "each repeat", "offered/s", "p50 ms", "p99 ms", "rows/call")
    print(table(header, rows))
    for name in ("ratio_vs_plain_bert", "ratio_vs_plain_bert_99", "cpu_ratio_vs_plain_bert"):
        print(f"{name}: {told[name]}")
    print(f"engines: {told['engines']}", flush=True)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each cell")
    asked = parser.parse_args()
    bundle = load_bundle(REPOSITORY)
    told: dict[str, Any] = {"machine": machine(), "versions": versions(_DISTRIBUTIONS)}
    with tempfile.TemporaryDirectory() as directory:
        write_repository(Path(directory))
        with bundled_triton(Path(directory), (*MODELS, _PLAIN_BERT.name)) as triton:
            told |= measure(paths(triton.grpc_url, bundle), asked.repeats, asked.seconds)
            told["engines"] = engines(TRITON_LOG.read_text(encoding="utf-8", errors="replace"))
    show(told)
    keep(told, asked.json)


if __name__ == "__main__":
    main()
