"""Why files could not be read, in one line: which file, the innermost cause, and a remedy that fits the format."""

import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from kdspark.config import SourceConfig
from kdspark.errors import InputError
from kdspark.spark.worker_errors import is_explained

_KINDS = {"parquet": "Parquet", "csv": "CSV", "json": "JSON lines"}
_KEYS = {"parquet": [], "csv": ["`delimiter`", "`header`", "`encoding`"], "json": ["`encoding`"]}
_FILES = (re.compile(r"reading file (.+?)\. [A-Z]"), re.compile(r"((?:file:/|\w+://)\S+)"))
_CODES = re.compile(r"^\[[A-Z0-9_.]+\] | SQLSTATE: \w+| CSV file: .*$")
_MOST = 120  # letters of a cause


@contextmanager
def reading(source: SourceConfig) -> Iterator[None]:
    """What fails while a source's files are read is their fault, unless `worker_errors` knows better.

    Raises:
        InputError: a file is damaged.
    """
    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        if is_explained(error):
            raise
        raise unreadable(source, error) from error


def unreadable(source: SourceConfig, error: Exception) -> InputError:
    """The one-line form of what Spark says of a damaged file."""
    messages = _messages(error)
    path = _file(messages)
    cause = _CODES.sub("", messages[-1] if path is None else messages[-1].replace(path, "it"))
    where = ", ".join(source.paths) if path is None else unquote(path)  # Spark encodes what is odd in a path
    return InputError(
        f"{where}: not readable as {_KINDS[source.format]} ({textwrap.shorten(cause, _MOST, placeholder=' …')}).",
        f"Export the file again, or correct {reading_keys(source, '`format`')}.",
    )


def reading_keys(source: SourceConfig, *first: str) -> str:
    """In words: `first`, then the keys that say how files of the source's format are read."""
    keys = [*first, *_KEYS[source.format]]
    return " and ".join([", ".join(keys[:-1]), keys[-1]] if keys[:-1] else keys)


def _messages(error: Exception) -> list[str]:
    """What went wrong, outermost first."""
    java: Any = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    messages = []
    while java is not None:
        messages.append(str(java.getMessage() or java.getClass().getSimpleName()))
        java = java.getCause()
    return [" ".join(message.split()) for message in messages or [str(error)]]


def _file(messages: list[str]) -> str | None:
    # The innermost message says it without a stack trace around.
    found = (pattern.search(message) for pattern in _FILES for message in reversed(messages))
    return next((match[1].rstrip("'\".,;()") for match in found if match), None)
