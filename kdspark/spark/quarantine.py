"""Rows that cannot be used: marked with a reason, kept as text, counted, and refused where there are too many."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from kdspark import tables
from kdspark.config import SourceConfig
from kdspark.errors import InputError
from kdspark.spark.io import literal, uri
from kdspark.spark.nulls import Nulls, mark_missing, sums_of_missing
from kdspark.spark.sources import CORRUPT, quoted
from kdspark.spark.unreadable import reading

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

MALFORMED = "malformed row"
BAD_ROW = (tables.SOURCE_FILE, tables.REASON, tables.RAW_ROW)
"""Columns of table "quarantine", but for the input."""


def write_judged(
    frame: "DataFrame",
    values: "list[Column]",
    reason: "Column",
    source: SourceConfig,
    scratch: Path,
    all_files: bool = False,
    watched: Sequence[str] = (),
    withheld: "Callable[[DataFrame], DataFrame] | None" = None,
) -> "DataFrame":
    """Read the files behind a frame once: every row's values and what is wrong with it, on disk.

    Args:
        frame: what `read_source` gave; its malformed rows are bad whatever `reason` says.
        values: the columns to keep.
        reason: text, or null for a good row.
        scratch: folder for the rows; must outlive the result.
        all_files: whether good rows have a source file, too.
        watched: columns whose missing values `count_reasons` is to count.
        withheld: leaves out of the rows what is not to be read, before they are written.

    Returns:
        (values, reason, source_file, raw_row); of good rows the last is null, and so is the last but one, if not
        `all_files`.

    Raises:
        InputError: a file is damaged.
    """
    text = F.to_json(F.struct(*[quoted(name) for name in frame.columns if name != CORRUPT]))
    if CORRUPT in frame.columns:
        text = F.coalesce(F.col(CORRUPT), text)
        reason = F.coalesce(F.when(F.col(CORRUPT).isNotNull(), MALFORMED), reason)
    bad, file = reason.isNotNull(), F.input_file_name()
    marked = frame.select(
        *values,
        reason.alias(tables.REASON),
        (file if all_files else F.when(bad, file)).alias(tables.SOURCE_FILE),
        F.when(bad, text).alias(tables.RAW_ROW),  # only bad rows pay for their text, and for the name of their file
        *mark_missing(frame, watched),
    )
    marked = marked if withheld is None else withheld(marked)
    with reading(source):
        # Read back a few times and then removed: looking for repeated ids would cost more than it saves.
        marked.write.options(**{"compression": "snappy", "parquet.enable.dictionary": "false"}).parquet(uri(scratch))
    # what was written is known: no footer has to be read for it
    return frame.sparkSession.read.schema(marked.schema).parquet(literal(uri(scratch)))


def count_reasons(rows: "DataFrame", watched: Sequence[str] = ()) -> tuple[dict[str | None, int], Nulls]:
    """Rows by reason, where None stands for the good ones, and missing values of the watched columns."""
    sums = sums_of_missing(len(watched))
    found = rows.groupBy(tables.REASON).agg(F.count("*").alias("n"), *sums).collect()
    missing = {name: sum(row[f"n{place}"] for row in found) for place, name in enumerate(watched)}
    by_reason = {row[tables.REASON]: int(row["n"]) for row in found}
    return by_reason, {"rows": sum(by_reason.values()), "missing": missing}


def describe(bad: dict[str, int]) -> str:
    """Counts by reason in words, most frequent first."""
    return "; ".join(f"{count:,} x {reason}" for reason, count in sorted(bad.items(), key=lambda kv: -kv[1]))


def check_bad_rows(
    rows: "DataFrame", bad: dict[str, int], total: int, most: float, source: SourceConfig, columns: str, remedy: str
) -> None:
    """Raise InputError if the share of bad rows is above `most`; it names the file with the most of them.

    Args:
        rows: as `write_judged` returned them, those with one of the reasons in `bad` being bad.
        total: number of all rows.
        columns: the configured columns in words.
    """
    count = sum(bad.values())
    if count <= most * total:
        return
    per_file = rows.filter(F.col(tables.REASON).isin(*bad)).groupBy(tables.SOURCE_FILE).count()
    worst = per_file.orderBy(F.desc("count"), tables.SOURCE_FILE).first()
    assert worst is not None
    raise InputError(
        f"{', '.join(source.paths)}: {count:,} of {total:,} rows are bad ({describe(bad)}; columns: {columns}; "
        f"{worst['count']:,} of them in {worst[tables.SOURCE_FILE]}).",
        f"{remedy}; or raise `data.filters.max_bad_fraction`.",
    )
