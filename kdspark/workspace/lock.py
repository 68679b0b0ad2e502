"""One process at a time: a lock that ends with the process that holds it, however it ends."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kdspark.errors import StageError


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file; its folder is made if it does not exist. Works across machines where the file system does.

    Args:
        what: the work, for the message, such as "This search".

    Raises:
        StageError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StageError(f"{what} is running in another process ({path}).", "Wait for it, or end it.") from error
        yield
