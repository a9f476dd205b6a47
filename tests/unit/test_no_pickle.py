"""Nothing that is read can run code: weights are safetensors or ONNX, arrays without objects."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SOURCES = sorted(
    path
    for directory in ("stream", "trainer", "triton_models", "deploy", "benchmarks")
    for path in (ROOT / directory).rglob("*.py")
)
#: Each runs what a file says, or loads weights so.
_DANGEROUS = (
    r"^\s*(import|from)\s+(pickle|cPickle|dill|cloudpickle|joblib|shelve|marshal)\b",
    r"\ballow_pickle\s*=\s*True",
    r"\btorch\.load\((?![^)]*weights_only\s*=\s*True)",
    r"\btrust_remote_code\s*=\s*True",
    r"\byaml\.(load|unsafe_load|full_load)\(",
    r"(?<![.\w])(eval|exec)\(",
)


def findings(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() for rule in _DANGEROUS if re.search(rule, line)]


@pytest.mark.parametrize("path", [pytest.param(path, id=str(path.relative_to(ROOT))) for path in _SOURCES])
def test_a_source_reads_nothing_that_could_run_code(path: Path) -> None:
    assert findings(path.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "    from joblib import load",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "yaml.load(text)",
        "eval(text)",
    ],
)
def test_what_could_is_found(line: str) -> None:
    assert findings(line) == [line.strip()]


@pytest.mark.parametrize(
    "line", ["torch.load(path, weights_only=True)", "model.eval()", "yaml.safe_load(text)", "np.load(path)"]
)
def test_what_could_not_is_let_through(line: str) -> None:
    assert findings(line) == []


def test_the_shipped_models_hold_no_file_that_is_unpickled() -> None:
    suffixes = {path.suffix for path in (ROOT / "triton_models").rglob("*") if path.is_file()}

    assert not suffixes & {".pt", ".pth", ".pkl", ".pickle", ".bin", ".joblib", ".ckpt"}
