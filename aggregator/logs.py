"""Logs of the process: structlog to standard error, as lines for people or as JSON for machines.

WARNING = something went wrong and nothing was lost; ERROR = data were lost or a person is needed.
"""

import logging
import sys

import structlog

from aggregator.config import Log


def configure(config: Log) -> None:
    """Sets the process's logging; to be called once."""
    level = logging.getLevelNamesMapping()[config.level.upper()]
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer()
        if config.format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
