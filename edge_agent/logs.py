"""Structured logs on stderr. WARN = recovered, nothing lost; ERROR = data lost or a person is needed."""

import logging
import sys

import structlog

from edge_agent.config import Log


def set_up(log: Log) -> None:
    """One line an event: JSON for machines, or plain for a console."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if log.format == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[log.level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
