"""What a Python worker, which Spark uses again for many tasks, need not do again for each of them."""

import functools
import zipimport
from pathlib import Path
from weakref import WeakKeyDictionary


@functools.cache
def keep_zip_directories() -> None:
    """Read the directory of a zip archive on the path again only if the file has changed; to be called in the worker.

    Spark drops Python's import caches at the start of every task. For archives, Python before 3.13 then reads the whole
    directory at once, and once for each package in it: pyspark.zip and a jar, which take longer than a small task's
    own work (0.15 s).
    """
    read_again = zipimport.zipimporter.invalidate_caches
    known: WeakKeyDictionary[zipimport.zipimporter, tuple[int, int] | None] = WeakKeyDictionary()

    def read_if_changed(importer: zipimport.zipimporter) -> None:
        now = _state(importer.archive)
        if now is None or known.get(importer) != now:
            read_again(importer)
            known[importer] = now

    zipimport.zipimporter.invalidate_caches = read_if_changed  # type: ignore[assignment, method-assign]


def _state(archive: str) -> tuple[int, int] | None:
    """What changes when a file does; None where there is none."""
    try:
        status = Path(archive).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
