"""The log of the server: to stderr, a line of text or a JSON object for each record, with the request and the instance."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, TextIO

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from .api.request import CURRENT

if TYPE_CHECKING:
    from .config import Settings

TEXT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
FIELDS: Final = "%(levelname)s %(name)s %(message)s %(request_id)s %(instance_id)s"
"""What every JSON object has besides the time."""
NAMES: Final = {"levelname": "level", "name": "logger", "exc_info": "exception", "stack_info": "stack"}
OMITTED: Final = (*RESERVED_ATTRS, "color_message")
"""What no JSON object has besides; the last is uvicorn's own, for terminals."""


def configure(settings: Settings) -> None:
    """Log to stderr as the settings say, unless the program that this is part of has set its own logging up."""
    root = logging.getLogger()
    for each in list(root.handlers):
        if isinstance(each, _Handler):
            root.removeHandler(each)  # of a server that ran before in this program
    if not root.handlers:
        root.addHandler(_Handler(settings.log_format))
    logging.getLogger("gym_http_server").setLevel(settings.log_level.upper())
    # What uvicorn says at info, the command says better.
    level = max(logging.getLevelNamesMapping()[settings.log_level.upper()], logging.WARNING)
    logging.getLogger("uvicorn").setLevel(logging.DEBUG if settings.log_level == "debug" else level)


class RequestFilter(logging.Filter):
    """Gives every record a `request_id` and an `instance_id`, None where there is none.

    Those of the request that is being served, but where who logs has given the record its own.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add them, and let the record pass."""
        request = CURRENT.get()
        for name in ("request_id", "instance_id"):
            if not hasattr(record, name):
                setattr(record, name, None if request is None else getattr(request, name))
        return True


class TextFormatter(logging.Formatter):
    """Text, with the ids behind the message as far as they are known and not in it."""

    def __init__(self) -> None:
        super().__init__(TEXT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- logging's name
        """Return the line of a record, without its traceback."""
        known = {"request": getattr(record, "request_id", None), "instance": getattr(record, "instance_id", None)}
        ids = " ".join(f"{name} {value}" for name, value in known.items() if value and value not in record.message)
        return super().formatMessage(record) + (f" [{ids}]" if ids else "")


class _Handler(logging.StreamHandler[TextIO]):
    """The handler of this module, which is known again by its class.

    Args:
        log_format: `text` or `json`.
    """

    def __init__(self, log_format: str) -> None:
        super().__init__()
        self.addFilter(RequestFilter())
        if log_format == "json":
            made = JsonFormatter(FIELDS, rename_fields=NAMES, reserved_attrs=OMITTED, timestamp="time")
            self.setFormatter(made)
        else:
            self.setFormatter(TextFormatter())
