"""Logs of commands a person runs: readable, and on stderr, so that stdout stays the answer."""

from __future__ import annotations

import logging
import sys

import structlog


def log_to_stderr() -> None:
    """Send what libraries of ours log from now on to stderr, from the level info up."""
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
