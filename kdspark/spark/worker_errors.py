"""What failed in a Python worker, as the error that it is to the user.

kdspark's own errors Spark sends home as the text of a traceback. Queries and writes raise pyspark's PythonException
with that text in it; RDDs, and whatever wraps the failure once more, a Py4JJavaError, where the text is the message of
the innermost Java cause. A worker or executor that died has no traceback: there, the messages of the causes tell.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import dropwhile

from py4j.protocol import Py4JJavaError
from pyspark import SparkContext
from pyspark.errors import PythonException

from kdspark import errors
from kdspark.errors import KdsparkError, StageError

_TRACEBACK = "Traceback (most recent call last):\n"
_JVM = "\n\nJVM stacktrace:\n"
_LIMIT = "spark.executor.pyspark.memory"
_NO_MEMORY = (  # how Python, numpy, Arrow, torch, threads and libraries that are loaded say so
    *("MemoryError", "not enough memory", "can't allocate memory", "Cannot allocate memory", "Unable to allocate"),
    *("can't start new thread", "Resource temporarily unavailable", "failed to map segment"),
)
_NO_MEMORY_UNDER_LIMIT = ("Could not find/load shared object", "without setting an exception")  # llvmlite, Python
_TOO_LARGE = "is bigger than spark.driver.maxResultSize"
_HEAP = ("Java heap space", "GC overhead limit exceeded")
_DIED = {"Python worker exited unexpectedly": "a Python worker", "ExecutorLostFailure": "an executor"}
_ENDED = (
    "Master removed our application",
    "All masters are unresponsive",
    "Cannot call methods on a stopped SparkContext",
)
_KINDS = {
    f"{errors.__name__}.{name}": kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, KdsparkError)
}


@contextmanager
def worker_errors(doing: str = "Spark") -> Iterator[None]:
    """Raise a KdsparkError that failed a worker's task as itself; bugs stay what they are.

    Args:
        doing: what the workers are at, in the words of an error.

    Raises:
        StageError: workers or executors died in every attempt of a task, or may not take the memory that they need; a
            JVM's heap is full; the driver may not take in what they send; or the cluster has ended the application.
    """
    try:
        yield
    except (PythonException, Py4JJavaError) as error:
        found = _explained(doing, error)
        if found is None:
            raise
        raise found from error


def is_explained(error: Exception) -> bool:
    """Whether `worker_errors` knows what it is: then it is not the fault of what was being read."""
    return isinstance(error, PythonException | Py4JJavaError) and _explained("", error) is not None


def _explained(doing: str, error: PythonException | Py4JJavaError) -> KdsparkError | None:
    return (
        raised_in_worker(error)
        or _out_of_heap(doing, error)  # before Python's: Java's OutOfMemoryError has the name of that in its own
        or _out_of_memory(doing, error)
        or _died(doing, error)
    )


def raised_in_worker(error: PythonException | Py4JJavaError) -> KdsparkError | None:
    """The KdsparkError that a worker raised, its remedy within `problem`; None if it raised anything else."""
    name, _, message = _last_words(error).partition(": ")
    kind = _KINDS.get(name)
    return kind(message, "") if kind else None


def _out_of_heap(doing: str, error: PythonException | Py4JJavaError) -> StageError | None:
    """A JVM had no room, or what executors sent was more than the driver may take in."""
    said = "\n".join(_messages(error))
    line = next((line for line in said.splitlines() if _TOO_LARGE in line), None)
    if line is not None:
        words = line.rpartition("failure: ")[2].strip()
        return StageError(
            f"{doing}: executors sent the driver more than it may take in ({words[:200]}).",
            "Raise spark.driver.maxResultSize, and spark.driver.memory with it; then run the same command again.",
        )
    for words in _HEAP:
        if words in said:
            return StageError(
                f"{doing}: a JVM's heap is full ({words}).",
                "Raise spark.executor.memory, or in local mode spark.driver.memory; then run the same command again.",
            )
    return None


def _out_of_memory(doing: str, error: PythonException | Py4JJavaError) -> StageError | None:
    said, limit = _last_words(error), _limit()
    if not any(words in said for words in (*_NO_MEMORY, *(_NO_MEMORY_UNDER_LIMIT if limit else ()))):
        return None
    problem = f"{doing}: a Python worker could not get the memory that it needs ({' '.join(said.split())[:200]})."
    if limit:
        return StageError(problem, f"Raise {_LIMIT}, which is {limit}, and run the same command again.")
    return StageError(problem, _remedy())


def _died(doing: str, error: PythonException | Py4JJavaError) -> StageError | None:
    said = "\n".join(_messages(error))
    for words, what in _DIED.items():
        if words in said:
            return StageError(f"{doing}: {what} died in every attempt of a task ({words}).", _remedy())
    for words in _ENDED:
        if words in said:
            return StageError(
                f"{doing}: the cluster has ended this application ({words}).",
                "The logs of its master and workers say why; then run the same command again.",
            )
    return None


def _remedy() -> str:
    limit = _limit()
    capped = f"; or raise {_LIMIT}, which is {limit}" if limit else ""
    return (
        "Most often there is no memory left: raise spark.executor.memoryOverhead, or let fewer tasks run at once"
        f"{capped}; then run the same command again."
    )


def _limit() -> str:
    context = SparkContext._active_spark_context
    return "" if context is None else str(context.getConf().get(_LIMIT, ""))


def _last_words(error: PythonException | Py4JJavaError) -> str:
    """The exception at the end of the traceback, as Python prints it."""
    last = _text(error).rpartition(_TRACEBACK)[2]  # before it stand the exceptions that it was raised from
    lines = dropwhile(lambda line: line.startswith(" "), last.strip("\n").splitlines())  # the stack is indented
    return "\n".join(lines).strip()


def _text(error: PythonException | Py4JJavaError) -> str:
    return str(error).partition(_JVM)[0] if isinstance(error, PythonException) else _messages(error)[-1]


def _messages(error: PythonException | Py4JJavaError) -> list[str]:
    """Of a Java error and its causes, from the outermost on."""
    if isinstance(error, PythonException):
        return [str(error)]
    found, cause = [], error.java_exception
    while cause is not None:
        found.append(str(cause.getMessage()))
        cause = cause.getCause()
    return found
