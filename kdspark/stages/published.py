"""Where a workspace's nights are published: below ROOT, or where the configuration says (`publish.to`)."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from kdspark.errors import PublishError
from kdspark.workspace import LocalStore, Publication, Workspace, read_json, write_json

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_NOTE = "publish.json"


def published_in(workspace: Workspace, to: str | None, session: Callable[[], "SparkSession"]) -> Publication:
    """What is published for a workspace.

    Args:
        to: URL of a folder; None: ROOT.
        session: asked for only where there is a URL.

    Raises:
        PublishError: the URL's file system cannot be reached.
    """
    if to is None:
        return Publication(LocalStore(workspace.root))
    from kdspark.spark.hadoop_store import HadoopStore

    try:
        return Publication(HadoopStore(session(), to))
    except OSError as error:
        raise PublishError(
            f"`publish.to`: {to} cannot be reached ({error}).", "Correct it, or the cluster's."
        ) from error


def note_place(workspace: Workspace, to: str | None) -> None:
    """Leave word below ROOT of where its nights are published, for those who know nothing but ROOT."""
    if noted_place(workspace) != to:
        write_json(workspace.root / _NOTE, {"to": to})


def noted_place(workspace: Workspace) -> str | None:
    """Where the last night was published; None: below ROOT.

    Raises:
        PublishError: the note cannot be read.
    """
    path: Path = workspace.root / _NOTE
    try:
        to = read_json(path)["to"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PublishError(f"{path}: damaged ({error}).", "Remove it, or publish again.") from error
    return None if to is None else str(to)
