"""Small file primitives: atomic JSON, hashes and sizes."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from kdspark.failpoints import reached
from kdspark.workspace.owners import owned

_BLOCK = 1 << 20
_HASHED_AT_ONCE = 4

_DIGEST = "digest"  # of all else in a JSON object


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part: temp file, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(owned(f"{path.name}.tmp"))
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        reached(f"{path.name}.written")
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        if error.errno is not None:  # else it has a message of its own
            error.filename = error.filename or str(path)  # a full disk does not say which
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON as `write_bytes` does. Raises ValueError on NaN and infinity, which JSON does not have."""
    write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """JSON for people. Raises ValueError as `write_json` does."""
    return f"{json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)}\n".encode()


def read_json(path: Path) -> Any:
    """Parse a JSON file. Raises OSError or ValueError as they come; callers know the remedy."""
    return json.loads(path.read_text(encoding="utf-8"))


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename inside it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Give a file a second name, or copy it where links do not reach: another device, or a system without them.

    For files that are written once: a change in place would show under both names. Deleting one leaves the other.

    Raises:
        FileExistsError: the target is there already; it may be another file's second name.
        OSError: it cannot be copied either.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        shutil.copyfile(source, target)


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def described(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and sha256 of every file below a folder, hidden ones left out."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith((".", "_")))
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
    return hashed(sizes, lambda name: sha256_file(folder / name))


def hashed(sizes: Mapping[str, int], sha256: Callable[[str], str]) -> dict[str, dict[str, Any]]:
    """Size and sha256 of files by name; some at a time, since disks and hashing leave Python free."""
    with ThreadPoolExecutor(_HASHED_AT_ONCE) as pool:
        hashes = pool.map(sha256, sizes)
        return {name: {"bytes": sizes[name], "sha256": digest} for name, digest in zip(sizes, hashes, strict=True)}


def difference(known: Mapping[str, Mapping[str, Any]], found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What is otherwise, as `described` told it then and tells it now, in words by file; empty where nothing is."""
    wrong = [f"{name} is missing" for name in sorted(known.keys() - found.keys())]
    wrong += [f"{name} was not there" for name in sorted(found.keys() - known.keys())]
    for name in sorted(known.keys() & found.keys()):
        if found[name]["bytes"] != known[name]["bytes"]:
            wrong.append(f"{name} has {found[name]['bytes']:,} bytes in place of {known[name]['bytes']:,}")
        elif found[name]["sha256"] != known[name]["sha256"]:
            wrong.append(f"{name} has other bytes")
    return wrong


def digest_of(value: Any) -> str:
    """Hex sha256 of a JSON-able value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """JSON content with a digest of its own, which `unsealed` checks."""
    return {**content, _DIGEST: digest_of(content)}


def unsealed(found: dict[str, Any]) -> dict[str, Any]:
    """The content again. Raises KeyError without a digest, ValueError where it is another's."""
    content = {name: value for name, value in found.items() if name != _DIGEST}
    if found[_DIGEST] != digest_of(content):
        raise ValueError("it is not what was written")
    return content
