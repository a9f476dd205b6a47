"""``interestflow demo`` on the command line."""

import sys

import typer
from rich.console import Console

from stream.clock import SystemClock
from stream.demo.figures import Summary
from stream.demo.lines import Lines
from stream.demo.options import DemoOptions
from stream.demo.reporter import Reporter
from stream.demo.run import run_demo
from stream.demo.screen import Screen


def demo_at_terminal(options: DemoOptions) -> Summary:
    """Run the demo with a screen in a terminal, with lines elsewhere."""
    clock = SystemClock()
    reporter: Reporter = Lines(clock, typer.echo)
    if sys.stdout.isatty() and not options.plain:
        reporter = Screen(Console(), clock)
    return run_demo(options, reporter)
