"""Logs of BrainOps' own processes: structured, to stderr, without secrets.

`BRAINOPS_LOG_FORMAT=json` writes one JSON object a line (default: `key=value` text for people), `BRAINOPS_LOG_LEVEL`
sets the lowest level that is written (default: info). What libraries log through the standard library takes the same
way.
"""

import logging
import os
import sys
from collections.abc import Mapping
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from brainops.errors import SetupError
from brainops.telemetry.redaction import redact_value

FORMAT_VARIABLE = "BRAINOPS_LOG_FORMAT"
LEVEL_VARIABLE = "BRAINOPS_LOG_LEVEL"

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}


def configure_logging(
    process: str, *, stream: TextIO | None = None, environment: Mapping[str, str] = os.environ
) -> None:
    """Set logging up for this process, once at its start; a second call replaces the first.

    `process`: its name in every line, such as `worker-control`. `stream`: default stderr. Raises SetupError for a
    level or format that does not exist.
    """
    level = _chosen(environment, LEVEL_VARIABLE, "info", tuple(_LEVELS))
    form = _chosen(environment, FORMAT_VARIABLE, "text", ("text", "json"))
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _Named(process),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, without_secrets, _renderer(form)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])


def without_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """structlog processor: the event with every text cleaned and every value under a secret's name hidden."""
    redacted = redact_value(event)
    return redacted if isinstance(redacted, dict) else {}


class _Named:
    """structlog processor that puts the process' name into every event."""

    def __init__(self, process: str) -> None:
        self._process = process

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["process"] = self._process
        return event


def _renderer(form: str) -> Processor:
    if form == "json":
        return structlog.processors.JSONRenderer(ensure_ascii=False)
    # logfmt escapes line ends: a text of a service cannot forge a line of ours.
    return structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "process", "event"], drop_missing=True)


def _chosen(environment: Mapping[str, str], variable: str, default: str, allowed: tuple[str, ...]) -> str:
    value = environment.get(variable, "").strip().lower() or default
    if value not in allowed:
        raise SetupError(f"{variable} is {value[:40]!r}; set it to {', '.join(allowed[:-1])} or {allowed[-1]}")
    return value
