"""The count of looks at the test cutoffs: each makes choosing by them, knowingly or not, more likely."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from trainer.workspace import write_json

#: Beside the samples that were looked at.
LOOKS: Final = "test-looks.json"


def count_look(path: Path, command: str) -> int:
    """Note that a command looks at the test cutoffs; how many looks there are now."""
    looks = json.loads(path.read_text(encoding="utf-8"))["looks"] if path.exists() else []
    looks.append({"day": datetime.now(UTC).date().isoformat(), "command": command})
    write_json(path, {"looks": looks})
    return len(looks)
