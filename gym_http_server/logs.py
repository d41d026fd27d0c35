"""The log on stderr: text or JSON lines, with the ids of request and instance.

At info it has a line for the start and stop of the server, for each instance made, lost and closed, for refusals (at most five a
second, `api/refusals.py`), and for output of environments.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, TextIO

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from .api.request import CURRENT

if TYPE_CHECKING:
    from .config import Settings

TEXT_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
JSON_FIELDS: Final = "%(levelname)s %(name)s %(message)s %(request_id)s %(instance_id)s"
"""Fields of every JSON object besides the time."""
JSON_NAMES: Final = {"levelname": "level", "name": "logger", "exc_info": "exception", "stack_info": "stack"}
OMITTED_ATTRIBUTES: Final = (*RESERVED_ATTRS, "color_message")
"""Attributes that JSON objects omit; the last is uvicorn's, for terminals."""


def configure(settings: Settings) -> None:
    """Log to stderr as the settings say, unless the surrounding program has configured logging."""
    root = logging.getLogger()
    for each in list(root.handlers):
        if isinstance(each, _Handler):
            root.removeHandler(each)  # of an earlier server in this process
    if not root.handlers:
        root.addHandler(_Handler(settings.log_format))
    logging.getLogger("gym_http_server").setLevel(settings.log_level.upper())
    # uvicorn's lines at info repeat those of the command.
    level = max(logging.getLevelNamesMapping()[settings.log_level.upper()], logging.WARNING)
    logging.getLogger("uvicorn").setLevel(logging.DEBUG if settings.log_level == "debug" else level)


class RequestFilter(logging.Filter):
    """Adds `request_id` and `instance_id` of the current request, or None, to records without them."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the ids; return True."""
        request = CURRENT.get()
        for name in ("request_id", "instance_id"):
            if not hasattr(record, name):
                setattr(record, name, None if request is None else getattr(request, name))
        return True


class TextFormatter(logging.Formatter):
    """Text, followed by the known ids that the message does not contain."""

    def __init__(self) -> None:
        super().__init__(TEXT_FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- logging's name
        """Return the line of a record, without its traceback."""
        known = {"request": getattr(record, "request_id", None), "instance": getattr(record, "instance_id", None)}
        ids = " ".join(f"{name} {value}" for name, value in known.items() if value and value not in record.message)
        return super().formatMessage(record) + (f" [{ids}]" if ids else "")


class _Handler(logging.StreamHandler[TextIO]):
    """The handler of this module, recognised by its class."""

    def __init__(self, log_format: str) -> None:
        super().__init__()
        self.addFilter(RequestFilter())
        if log_format == "json":
            formatter = JsonFormatter(
                JSON_FIELDS, rename_fields=JSON_NAMES, reserved_attrs=OMITTED_ATTRIBUTES, timestamp="time"
            )
            self.setFormatter(formatter)
        else:
            self.setFormatter(TextFormatter())
