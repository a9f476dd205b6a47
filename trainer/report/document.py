"""The report's figures as Markdown beside its plots, and as one HTML file that needs nothing else."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import jinja2
import markdown

MARKDOWN: Final = "report.md"
HTML: Final = "report.html"
_TEMPLATE: Final = "report.md.j2"
_PAGE: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Evaluation report</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; }}
table {{ border-collapse: collapse; margin: 1em 0; }}
th, td {{ border: 1px solid #ccc; padding: .2em .6em; text-align: right; }}
th:first-child, td:first-child {{ text-align: left; }}
</style></head><body>
{body}
</body></html>
"""


def write_document(content: Mapping[str, Any], plots: Mapping[str, str], directory: Path) -> None:
    """Write both forms.

    Args:
        content: What the template names.
        plots: File names in the directory by title.
        directory: Gets ``report.md`` and ``report.html``.
    """
    text = _environment().get_template(_TEMPLATE).render(**content, plots=plots)
    (directory / MARKDOWN).write_text(text, encoding="utf-8")
    body = markdown.markdown(text, extensions=["tables"])
    for name in plots.values():
        image = b64encode((directory / name).read_bytes()).decode()
        body = body.replace(f'src="{name}"', f'src="data:image/png;base64,{image}"')
    (directory / HTML).write_text(_PAGE.format(body=body), encoding="utf-8")


def _environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    # Names of interests and groups are a shop's own; they are escaped in Markdown as in HTML.
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters.update(number=_number, signed=_signed, span=_span, largest_gap=_largest_gap)
    return environment


def _number(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _signed(value: float) -> str:
    return f"{value:+.4f}"


def _span(interval: Sequence[float] | jinja2.Undefined) -> str:
    if isinstance(interval, jinja2.Undefined):
        return "-"
    return f"{interval[0]:+.4f} to {interval[1]:+.4f}"


def _largest_gap(points: Sequence[Mapping[str, float]]) -> float:
    return max(abs(point["said"] - point["happened"]) for point in points)
