"""Secrets in texts: what must not be in a message, a log or a manifest is put out of sight.

Credentials in URLs are told by their form, `scheme://name:password@host` and `?sig=…`; other secrets are known by their
value, once somebody has said so (`hide`).
"""

import logging
import re
import sys
import traceback
from types import TracebackType

HIDDEN = "***"
_LEAST = 8  # letters of a secret that is looked for anywhere: shorter ones are parts of words
_USER_INFO = re.compile(r"(?<=://)[^/\s@'\"]*:[^/\s@'\"]*(?=@)")
_NAMES = "sig|signature|secret|token|password|passwd|credential|key"
_QUERY = re.compile(rf"(?i)(?<=[?&;])([\w.-]*(?:{_NAMES})[\w.-]*=)[^&\s'\"]+")
_known: set[str] = set()


def hide(secret: str) -> None:
    """From now on put this text out of sight, wherever `redacted` finds it."""
    if len(secret) >= _LEAST:
        _known.add(secret)


def redacted(text: str) -> str:
    """The text without secrets."""
    text = _QUERY.sub(rf"\1{HIDDEN}", _USER_INFO.sub(HIDDEN, text))
    for secret in _known:
        text = text.replace(secret, HIDDEN)
    return text


def has_credentials(url: str) -> bool:
    """Whether a URL carries a password or a signature."""
    return "://" in url and bool(_USER_INFO.search(url) or _QUERY.search(url))


class Redaction(logging.Formatter):
    """A formatter whose lines, stack traces too, hold no secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


def print_redacted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """In place of `sys.excepthook`."""
    sys.stderr.write(redacted("".join(traceback.format_exception(kind, error, trace))))
