"""What a command says in the end: its figures, on the screen and where ``--json`` asks for them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from trainer.figures import numbers_only
from trainer.workspace import write_json


def tell(figures: Mapping[str, Any], path: Path | None) -> None:
    """Print figures as JSON, and write them to a file if there is one; a figure that is no number becomes null."""
    if path is not None:
        write_json(path, figures)
    Console().print_json(data=numbers_only(figures))
