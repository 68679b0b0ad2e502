"""Columns that only the names of folders hold: events/dt=2026-11-01/country=de/part-0.parquet, as Hive lays out tables.

Spark finds them only below a single `basePath`, and lets them hide a file's own column of that name. Here the files
are listed by kdspark, may lie under several roots, and their own columns win, so the values are taken from the path of
the file that a row came from.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_NULL = "__HIVE_DEFAULT_PARTITION__"


def with_partition_columns(frame: "DataFrame", paths: Iterable[str]) -> "DataFrame":
    """Add a text column for every `key=value` folder above the files, as far as they hold no column of that name.

    Values stay text, whatever they look like: "007" keeps its zeros. Where a key occurs twice in a path, the folder
    nearest to the file counts; a file without it has null, as has Hive's default partition. Case does not tell names
    apart, as everywhere in Spark.

    Args:
        frame: read from files and not yet transformed, so that each row still knows its file.
        paths: the files, as Hadoop spells them.
    """
    own = {name.lower() for name in frame.columns}
    keys = {name: key for name, key in _keys(paths).items() if name not in own}
    if not keys:
        return frame
    path = _decoded(frame.metadataColumn("_metadata")["file_path"])
    return frame.select("*", *[_value(path, key).alias(unquote(key)) for key in keys.values()])


def _keys(paths: Iterable[str]) -> dict[str, str]:
    """Lower-case column name -> the key as the first folder spells it, in order of appearance."""
    keys: dict[str, str] = {}
    for folder in dict.fromkeys(path.rpartition("/")[0] for path in paths):
        for part in folder.split("/"):
            key, equals, _ = part.partition("=")
            if key and equals:
                keys.setdefault(unquote(key).lower(), key)
    return keys


def _value(path: "Column", key: str) -> "Column":
    found = F.regexp_extract(path, rf"(?iu)^.*/\Q{key}\E=([^/]+)/", 1)
    return F.when(~found.isin("", _NULL), F.coalesce(_decoded(found), found))


def _decoded(text: "Column") -> "Column":
    """Percent-escapes resolved; null where a percent sign is none."""
    # For a form, which is what Spark decodes, a plus is a blank; in a path it is a plus.
    return F.try_url_decode(F.replace(text, F.lit("+"), F.lit("%2B")))
