"""The manifest that makes a stage's folder a finished one: written last, and with a digest of its own."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kdspark.errors import StageError
from kdspark.workspace.files import read_json, sealed, unsealed, write_json

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """What a finished stage says of itself.

    Attributes:
        stage: name of the stage.
        key: digest of everything that determines the output; also the folder's name.
        inputs: upstream stage -> its key.
        config: the configuration sections the stage depends on.
        rows: table name -> row count.
        facts: whatever else the stage found out (metrics, sizes, the pinned input files).
        seconds: wall time.
        versions: kdspark and library versions.
        created: UTC time, ISO 8601.
        files: size and sha256 of every file of the output, by its name.
    """

    stage: str
    key: str
    inputs: dict[str, str]
    config: dict[str, Any]
    rows: dict[str, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    created: str = ""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)


class DamagedManifestError(StageError):
    """A manifest that is none, or is not what was written."""


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write it, which finishes the folder."""
    write_json(folder / MANIFEST, sealed(asdict(manifest)))


def read_manifest(folder: Path) -> Manifest | None:
    """That of a folder; None where there is none. Raises DamagedManifestError."""
    path = folder / MANIFEST
    try:
        return Manifest(**unsealed(read_json(path)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedManifestError(
            f"{path}: damaged manifest ({error}).", f"Delete {path.parent} and run the stage again."
        ) from error
