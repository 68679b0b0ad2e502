"""Where published runs lie: a folder of this machine or a shared one, or, elsewhere, any other file system.

The protocol of publishing asks for little: whole folders put under names that nobody reads yet, a rename that happens
at once or not at all, and small files that are replaced as one.
"""

import shutil
from pathlib import Path
from typing import Protocol

from kdspark.errors import PublishError
from kdspark.workspace.files import link_or_copy, sha256_file, sync_folder, write_bytes
from kdspark.workspace.paths import inside

_HIDDEN = ("_*", ".*")


class Store(Protocol):
    """Files by names relative to its root, with `/` between folders."""

    def url(self, name: str) -> str:
        """What Spark reads a folder by."""

    def read(self, name: str) -> bytes:
        """A small file. Raises FileNotFoundError."""

    def write(self, name: str, data: bytes) -> None:
        """Replace a small file: readers see the old one or the new one, never a part. Folders are made."""

    def exists(self, name: str) -> bool:
        """Whether there is such a file or folder."""

    def folders(self, name: str) -> list[str]:
        """Names of the folders in a folder, sorted; none where there is no such folder."""

    def files(self, name: str) -> dict[str, int]:
        """Sizes in bytes of all files below a folder, by their names relative to it."""

    def sha256(self, name: str) -> str:
        """Of a file, in hex."""

    def put(self, folder: Path, name: str) -> None:
        """Copy a local folder, hidden files left out, to a name where there is nothing."""

    def fetch(self, name: str, folder: Path) -> None:
        """Copy a folder's files to a local one, which must not exist."""

    def rename(self, name: str, new: str) -> None:
        """Give a folder a name where there is nothing, at once."""

    def delete(self, name: str) -> None:
        """Remove a folder with all that is in it; nothing happens where there is none."""


class LocalStore:
    """A folder, on a local disk or one that machines share.

    `put` links files where it can: no copy, no space, and whichever of the two names goes first leaves the other whole.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def _path(self, name: str) -> Path:
        """Raises PublishError where a link leads out of the folder."""
        return inside(self.root, self.root / name, PublishError)

    def url(self, name: str) -> str:
        return str(self._path(name))

    def read(self, name: str) -> bytes:
        return self._path(name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        write_bytes(self._path(name), data)

    def exists(self, name: str) -> bool:
        return self._path(name).exists()

    def folders(self, name: str) -> list[str]:
        folder = self._path(name)
        return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []

    def files(self, name: str) -> dict[str, int]:
        folder = self._path(name)
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}

    def sha256(self, name: str) -> str:
        return sha256_file(self._path(name))

    def put(self, folder: Path, name: str) -> None:
        target = self._path(name)
        shutil.copytree(folder, target, ignore=shutil.ignore_patterns(*_HIDDEN), copy_function=link_or_copy)

    def fetch(self, name: str, folder: Path) -> None:
        shutil.copytree(self.root / name, folder, copy_function=link_or_copy)

    def rename(self, name: str, new: str) -> None:
        target = self._path(new)
        self._path(name).rename(target)
        sync_folder(target.parent)

    def delete(self, name: str) -> None:
        shutil.rmtree(self._path(name), ignore_errors=True)
