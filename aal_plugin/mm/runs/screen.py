"""What of MMEngine's log comes to the screen; the log file has everything."""

from __future__ import annotations

import functools
import logging
from typing import Any

from mmengine._strategy import BaseStrategy
from mmengine.runner import Runner

# How MMEngine's listings begin: hundreds of lines before the first step.
_LISTINGS = (
    f"\n{'-' * 60}\nSystem environment:",
    "Config:\n",
    "Hooks will be executed in the following order:",
    "paramwise_options -- ",
)


def keep_listings_off_the_screen() -> None:
    """Let the runs of this process write environment, config and hooks to the log file only."""
    for kind in (Runner, BaseStrategy):  # a FlexibleRunner's strategy builds its logger
        kind.build_logger = _short(kind.build_logger)


def _short(build: Any) -> Any:
    @functools.wraps(build)
    def built(owner: Any, *args: Any, **options: Any) -> logging.Logger:
        logger: logging.Logger = build(owner, *args, **options)
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                logger.info(
                    f"environment, config, hooks and options of the parameters: see "
                    f"{handler.baseFilename}, or add --verbose"
                )
            else:
                handler.addFilter(lambda record: not record.getMessage().startswith(_LISTINGS))
        return logger

    return built
