"""One self-contained page about training runs: what was trained, its curves, links and maps."""

from .write import write_report

__all__ = ["write_report"]
