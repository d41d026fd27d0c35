"""The API key: given as a setting, read from a file, generated, or none."""

from __future__ import annotations

import ipaddress
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from ...errors import AccessError
from ...support.files import read_within

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...config import Settings

KEY_FILE_SECONDS: Final = 10.0
"""Time limit for reading --api-key-file, which may be a pipe: `--api-key-file <(pass show gym)`."""
MIN_KEY_CHARS: Final = 16
"""Characters below which a key counts as easy to guess."""


class Key(NamedTuple):
    """An API key.

    Attributes:
        text: visible ASCII; empty if no key is required.
        is_made: whether it was generated, so that the operator has to be shown it.
        warning: a warning for the operator, or empty.
    """

    text: str
    is_made: bool = False
    warning: str = ""


def key_for(settings: Settings, addresses: Iterable[str]) -> Key:
    """Return the key that a server with these settings requires if it listens on these addresses.

    Raises:
        AccessError: the settings contradict each other, or the key is invalid or cannot be read.
    """
    is_local = all(ipaddress.ip_address(each.partition("%")[0]).is_loopback for each in addresses)
    given = _given(settings)
    if given and not settings.auth:
        raise AccessError("a key is given, and --no-auth says that there is none: leave one of them out")
    if given:
        is_short = len(given) < MIN_KEY_CHARS
        warning = (
            f"the key has {len(given)} characters, and one of less than {MIN_KEY_CHARS} may be guessed"
            if is_short
            else ""
        )
        return Key(given, warning=warning)
    if settings.auth and not is_local:
        return Key(secrets.token_urlsafe(32), is_made=True)
    is_reached = not is_local or bool(settings.trusted_proxy)
    warning = "whoever reaches this server may run environments on it: it requires no key" if is_reached else ""
    return Key("", warning=warning)


def _given(settings: Settings) -> str:
    if settings.api_key and settings.api_key_file:
        raise AccessError("a key is given by --api-key and by --api-key-file: leave one of them out")
    key, where = settings.api_key, "the key"
    if settings.api_key_file:
        where = f"the key in {settings.api_key_file}"
        try:
            key = read_within(Path(settings.api_key_file), KEY_FILE_SECONDS).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            why = (error.strerror or str(error)) if isinstance(error, OSError) else "it is not a text"
            raise AccessError(f"cannot read --api-key-file {settings.api_key_file}: {why}") from None
        if not key:
            raise AccessError(f"{where} is empty: write one into the file, such as 32 random characters")
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise AccessError(
            f"{where} cannot be sent: it is to be visible ASCII characters, without spaces or line breaks"
        )
    return key
