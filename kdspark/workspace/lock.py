"""One process at a time: a lock that ends with the process that holds it, however it ends."""

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kdspark.errors import StageError

log = logging.getLogger("kdspark")


@contextmanager
def exclusive(path: Path, what: str, wait: bool = False) -> Iterator[None]:
    """Hold a lock file; its folder is made if it does not exist.

    It works across machines where the file system's locks do; where there are none, it says so and goes on.

    Args:
        what: the work, for the message, such as "This search".
        wait: until nobody else holds it.

    Raises:
        StageError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise StageError(f"{what} is running in another process ({path}).", "Wait for it, or end it.") from error
        except OSError as error:
            log.warning("%s: no locks here (%s); see to it that %s runs once.", path, error.strerror, what.lower())
        yield
