"""Finding and reading the user's files: Parquet, CSV or JSON lines, paths or globs, on any Hadoop file system.

Folders named `key=value` are columns, see `partitions`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from kdspark.config import SourceConfig
from kdspark.errors import InputError, NoRowsError
from kdspark.spark.changed_type import changed_type
from kdspark.spark.io import literal
from kdspark.spark.partitions import with_partition_columns
from kdspark.spark.unreadable import reading, reading_keys

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_PICKLED = "_common_metadata"
CORRUPT = "_kdspark_malformed"
"""Column of `read_source` for CSV and JSON: the text of a row that does not fit its file's columns, else null."""


@dataclass(frozen=True)
class SourceFile:
    """One input file: what the manifest pins, so that files that come later change nothing."""

    path: str
    bytes: int
    modified_ms: int


def list_files(spark: "SparkSession", source: SourceConfig) -> list[SourceFile]:
    """The data files behind a source's paths and globs, folders taken recursively, in order of path.

    Raises:
        NoRowsError: a path or glob matches nothing, or all files are empty.
        InputError: a folder holds pickled metadata.
    """
    found: dict[str, SourceFile] = {}
    for pattern in source.paths:
        files = _glob(spark, pattern)
        if not files:
            raise NoRowsError(f"{pattern}: no such file.", "Check the path or glob under `paths`.")
        found.update({file.path: file for file in files})
    if not any(file.bytes for file in found.values()):
        raise NoRowsError(f"{', '.join(source.paths)}: every file is empty.", "Check that the export has run.")
    return [found[path] for path in sorted(found)]


def read_source(spark: "SparkSession", source: SourceConfig, files: list[SourceFile] | None = None) -> "DataFrame":
    """Read a source: CSV columns as strings, Parquet and JSON with their own types, `key=value` folders as strings.

    Args:
        files: the files to read, as `list_files` gave them; listed now if None.

    Raises:
        InputError: as `list_files`, or a file is not readable as what the configuration says.
    """
    files = list_files(spark, source) if files is None else files
    paths = [file.path for file in files if file.bytes]
    empty = [file.path for file in files if not file.bytes]
    if empty and source.format == "parquet":
        raise InputError(f"{empty[0]}: zero bytes, not a Parquet file.", "Remove it or export it again.")
    with reading(source):
        try:
            return with_partition_columns(_read(spark, source, [literal(path) for path in paths]), paths)
        except (PySparkException, Py4JJavaError) as error:
            if "CANNOT_MERGE_SCHEMAS" in str(error) and (changed := changed_type(spark, paths)) is not None:
                raise changed from error
            raise


def columns_of(frame: "DataFrame") -> dict[str, str]:
    """Names and types of the columns that `read_source` found."""
    return {field.name: field.dataType.simpleString() for field in frame.schema.fields if field.name != CORRUPT}


def _read(spark: "SparkSession", source: SourceConfig, paths: list[str]) -> "DataFrame":
    if source.format == "csv":
        return _read_csv(spark, source, paths)
    if source.format == "json":
        options = {"columnNameOfCorruptRecord": CORRUPT}
        if source.encoding != "UTF-8":
            options |= {"encoding": source.encoding, "lineSep": "\n"}  # Spark asks for the separator then
        schema = spark.read.options(**options).json(paths).schema
        return spark.read.options(**options).schema(_with_corrupt(schema)).json(paths)
    # Merging reads every footer, on the workers: a damaged file, or a column that changed its type, shows now.
    return spark.read.options(mergeSchema=True).parquet(*paths)


def _read_csv(spark: "SparkSession", source: SourceConfig, paths: list[str]) -> "DataFrame":
    options: dict[str, Any] = {"sep": source.delimiter, "header": source.header, "columnNameOfCorruptRecord": CORRUPT}
    options["encoding"] = source.encoding
    options["columnPruning"] = False  # else rows that are malformed in the columns nobody asks for pass as good
    # Header or not, the first file gives the names; enforceSchema=False checks the others' headers against it.
    schema = spark.read.options(**options).csv(paths).schema
    return spark.read.options(**options, enforceSchema=False).schema(_with_corrupt(schema)).csv(paths)


def _with_corrupt(schema: StructType) -> StructType:
    fields = [field for field in schema.fields if field.name != CORRUPT]
    return StructType([*fields, StructField(CORRUPT, StringType())])


def require_columns(frame: "DataFrame", wanted: dict[str, str], source: SourceConfig) -> None:
    """Check that columns exist.

    Args:
        wanted: configuration key -> column name.

    Raises:
        InputError: naming the source, the missing columns and those there are.
    """
    missing = {key: name for key, name in wanted.items() if name not in frame.columns}
    if missing:
        named = ", ".join(f"{name!r} (`{key}`)" for key, name in missing.items())
        there = ", ".join(repr(name) for name in frame.columns[:30] if name != CORRUPT) or "none"
        raise InputError(
            f"{', '.join(source.paths)}: no column {named}; there are {there}.",
            f"Correct {reading_keys(source, 'the column names in the configuration')}.",
        )


def quoted(name: str) -> "Column":
    """A column by its literal name: dots, colons and backticks in names mean nothing special."""
    return F.col("`" + name.replace("`", "``") + "`")


def _glob(spark: "SparkSession", pattern: str) -> list[SourceFile]:
    jvm: Any = spark._jvm
    hadoop = spark._jsc.hadoopConfiguration()  # type: ignore[union-attr]
    try:
        path = jvm.org.apache.hadoop.fs.Path(pattern)
        system = path.getFileSystem(hadoop)
        return [file for match in system.globStatus(path) or [] for file in _below(system, match.getPath())]
    except Py4JJavaError as error:
        cause = str(error.java_exception.getMessage() or error.java_exception).splitlines()[0]
        raise InputError(f"{pattern}: cannot be listed ({cause}).", "Check the path or glob under `paths`.") from error


def _below(system: Any, folder: Any) -> list[SourceFile]:
    """A file, or the files of a folder; names that start with "_" or "." are not data, as everywhere in Spark."""
    start = len(folder.getParent().toString())
    files: list[SourceFile] = []
    listing = system.listFiles(folder, True)
    while listing.hasNext():
        status = listing.next()
        path = status.getPath()
        if path.getName() == _PICKLED:
            raise InputError(f"{path}: pickled metadata, which can run code when it is read.", "Delete this file.")
        parts = path.toString()[start:].strip("/").split("/")
        if not any(part.startswith(".") or (part.startswith("_") and "=" not in part) for part in parts):
            files.append(SourceFile(path.toString(), int(status.getLen()), int(status.getModificationTime())))
    return files
