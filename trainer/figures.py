"""Figures as JSON can hold them."""

import math
from collections.abc import Mapping
from typing import Any


def numbers_only(document: Any) -> Any:
    """The same with null in place of NaN and infinity, which JSON doesn't have."""
    if isinstance(document, Mapping):
        return {name: numbers_only(value) for name, value in document.items()}
    if isinstance(document, list | tuple):
        return [numbers_only(value) for value in document]
    return None if isinstance(document, float) and not math.isfinite(document) else document
