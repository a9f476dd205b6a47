"""What ``interestflow demo`` is told."""

from dataclasses import dataclass, field
from pathlib import Path

from stream.replay.recording import Recording


@dataclass(frozen=True)
class DemoOptions:
    """How long, of what, and where the parts are."""

    model_repository: Path
    stub_python: Path
    """Interpreter of the bundled Triton's environment."""
    recording: Recording = field(default_factory=Recording)
    seconds: float | None = None
    """Length of the paced part; None runs to the end of the events."""
    summary: Path | None = None
    """Gets the figures as JSON."""
    health_port: int | None = None
    """The worker's, for a Prometheus of this machine; a free one if None."""
    plain: bool = False
    """Lines instead of a screen, also in a terminal."""
