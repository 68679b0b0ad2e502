"""Users whom `kdspark erase` has erased: no later night reads what logs still say of them.

ROOT/erased/users.txt holds a keyed hash (HMAC-SHA256) of each id, and ROOT/erased/key the key, made at random: the ids
themselves are nowhere below ROOT. Both are for their owner alone.
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from kdspark.workspace.files import write_bytes

_FOLDER_MODE = 0o700


class ErasedUsers:
    """The users erased below one ROOT."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "erased"

    @property
    def path(self) -> Path:
        """The hashes, a line each; it may not exist."""
        return self._folder / "users.txt"

    def __bool__(self) -> bool:
        return self.path.is_file()

    def key(self) -> bytes:
        """Of the hashes; made when first asked for."""
        path = self._folder / "key"
        if not path.is_file():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._folder.chmod(_FOLDER_MODE)
            made = path.with_name(f"key-{os.getpid()}")
            write_bytes(made, secrets.token_hex(32).encode())
            try:
                os.link(made, path)  # of two who make one at once the first has made it
            except FileExistsError:
                pass
            finally:
                made.unlink()
        return path.read_bytes()

    def digest(self, user: str) -> str:
        """What stands for a user: HMAC-SHA256 of the id as text, in hex."""
        return hmac.new(self.key(), user.encode(), hashlib.sha256).hexdigest()

    def digests(self) -> set[str]:
        """Of all erased users."""
        return set(self.path.read_text(encoding="ascii").split()) if self else set()

    def add(self, users: Iterable[str]) -> list[str]:
        """Note that users are erased, before anything else is done about it; returns their hashes, in order."""
        added = [self.digest(user) for user in users]
        together = self.digests() | set(added)
        write_bytes(self.path, "".join(f"{digest}\n" for digest in sorted(together)).encode())
        return added

    def fingerprint(self) -> str | None:
        """Tells one set of users from another; None where nobody has been erased."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest() if self else None
