"""kdspark's own errors on their way out of a Python worker, which Spark sends home as the text of a traceback.

Queries and writes raise pyspark's PythonException with that text in it; RDDs, and whatever wraps the failure once more,
a Py4JJavaError, where the text is the message of the innermost Java cause.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import dropwhile

from py4j.protocol import Py4JJavaError
from pyspark.errors import PythonException

from kdspark import errors
from kdspark.errors import KdsparkError

_TRACEBACK = "Traceback (most recent call last):\n"
_JVM = "\n\nJVM stacktrace:\n"
_KINDS = {
    f"{errors.__name__}.{name}": kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, KdsparkError)
}


@contextmanager
def worker_errors() -> Iterator[None]:
    """Raise a KdsparkError that failed a worker's task as itself; all other exceptions stay what they are."""
    try:
        yield
    except (PythonException, Py4JJavaError) as error:
        found = raised_in_worker(error)
        if found is None:
            raise
        raise found from error


def raised_in_worker(error: PythonException | Py4JJavaError) -> KdsparkError | None:
    """The KdsparkError that a worker raised, its remedy within `problem`; None if it raised anything else."""
    last = _text(error).rpartition(_TRACEBACK)[2]  # before it stand the exceptions that it was raised from
    lines = dropwhile(lambda line: line.startswith(" "), last.strip("\n").splitlines())  # the stack is indented
    name, _, message = "\n".join(lines).strip().partition(": ")
    kind = _KINDS.get(name)
    return kind(message, "") if kind else None


def _text(error: PythonException | Py4JJavaError) -> str:
    if isinstance(error, PythonException):
        return str(error).partition(_JVM)[0]
    cause = error.java_exception
    while cause.getCause() is not None:
        cause = cause.getCause()
    return str(cause.getMessage())
