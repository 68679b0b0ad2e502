"""What of the inputs is left out, as it is read: erased users, sensitive items; and under which names users go on.

Rows of erased users leave nothing but their number: not even scratch tables hold them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import DataType

from kdspark import tables
from kdspark.config import IdListConfig
from kdspark.errors import InputError
from kdspark.spark.io import literal, read_table, uri
from kdspark.spark.keyed import PSEUDONYM, with_hmac
from kdspark.spark.sources import SourceFile, quoted, read_source, require_columns
from kdspark.workspace import read_json

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ERASED, SENSITIVE = "erased user", "sensitive item"
"""Reasons of rows that are left out, and no fault of the export; LEFT_OUT are both."""
LEFT_OUT = ERASED, SENSITIVE
_DIGEST, _LISTED = "_kdspark_digest", "_kdspark_listed"


@dataclass(frozen=True)
class Withheld:
    """What a night leaves out of every read.

    Attributes:
        spark: the session.
        erased: lists of user ids, with their files.
        noted: file of hashes of erased users, or None.
        noted_key: the key of these hashes.
        sensitive: lists of item ids, with their files.
        pseudonym_key: None where users keep their ids.
    """

    spark: "SparkSession"
    erased: tuple[IdListConfig, list[SourceFile]] | None = None
    noted: Path | None = None
    noted_key: bytes = field(default=b"", repr=False)
    sensitive: tuple[IdListConfig, list[SourceFile]] | None = None
    pseudonym_key: bytes | None = field(default=None, repr=False)

    def judged(self, rows: "DataFrame", types: Mapping[str, DataType]) -> "DataFrame":
        """Rows as `quarantine.write_judged` marks them, before anything is written: users have their names, and rows
        of erased users and sensitive items have these as their reason, and null in every other column.

        What a bad row says as text is left out where users have pseudonyms, and where nobody can tell whose it is.

        Args:
            types: USER_ID and ITEM_ID -> their type in the logs, before pseudonyms.
        """
        rows = self.named(rows)
        raw = F.col(tables.RAW_ROW)
        if tables.USER_ID in rows.columns and self._guards_users:
            kept = F.lit(False) if self.pseudonym_key is not None else F.col(tables.USER_ID).isNotNull()
            rows = rows.withColumn(tables.RAW_ROW, F.when(kept, raw))
        for id_name, reason, listed in (
            (tables.USER_ID, ERASED, self._erased_of),
            (tables.ITEM_ID, SENSITIVE, self._sensitive_of),
        ):
            if id_name in rows.columns and id_name in types:
                rows = self._marked(rows, id_name, reason, listed(types[id_name]))
        return rows

    def kept(self, rows: "DataFrame", types: Mapping[str, DataType]) -> "DataFrame":
        """As `judged`, without the rows that it leaves out."""
        found = self.judged(rows, types)
        return found.filter(~F.coalesce(tables.REASON, F.lit("")).isin(*LEFT_OUT))

    def named(self, rows: "DataFrame") -> "DataFrame":
        """The rows, whose users have pseudonyms if they are to have any."""
        if self.pseudonym_key is None or tables.USER_ID not in rows.columns:
            return rows
        return with_hmac(rows, tables.USER_ID, self.pseudonym_key, tables.USER_ID, PSEUDONYM).select(*rows.columns)

    def left(self, known: "DataFrame", id_name: str, kind: DataType) -> "DataFrame":
        """An earlier night's vocabulary (idx, id), in which erased users and sensitive items have no id: numbers stay.

        Args:
            kind: type of the ids in the logs, before pseudonyms.
        """
        listed = self._erased_of(kind) if id_name == tables.USER_ID else self._sensitive_of(kind)
        if listed is None:
            return known
        names = known.columns
        found = self._met(known, id_name, listed)
        kept = F.when(F.col(_LISTED).isNull(), F.col(id_name)).alias(id_name)
        return found.select(*(kept if name == id_name else F.col(name) for name in names))

    @property
    def _guards_users(self) -> bool:
        return self.erased is not None or self.noted is not None or self.pseudonym_key is not None

    def _marked(self, rows: "DataFrame", id_name: str, reason: str, listed: "DataFrame | None") -> "DataFrame":
        if listed is None:
            return rows
        hit = F.col(_LISTED).isNotNull()
        values = {name: F.when(~hit, F.col(name)) for name in rows.columns}
        values[tables.REASON] = F.when(hit, reason).otherwise(F.col(tables.REASON))
        return self._met(rows, id_name, listed).select(*(value.alias(name) for name, value in values.items()))

    def _met(self, rows: "DataFrame", id_name: str, listed: "DataFrame") -> "DataFrame":
        """With a column that is not null where the id is among those listed."""
        marked = listed.withColumn(_LISTED, F.lit(1))
        if id_name == tables.ITEM_ID:
            return rows.join(marked, id_name, "left")
        return with_hmac(rows, id_name, self.noted_key, _DIGEST).join(marked, _DIGEST, "left")

    def _erased_of(self, kind: DataType) -> "DataFrame | None":
        """(digest) of all erased users, or None if there are none."""
        parts = []
        if self.noted is not None:
            parts.append(self.spark.read.text(literal(uri(self.noted))).toDF(_DIGEST))
        if self.erased is not None:
            named = self.named(self._list("erased", *self.erased, tables.USER_ID, kind))
            parts.append(with_hmac(named, tables.USER_ID, self.noted_key, _DIGEST).select(_DIGEST))
        return reduce(lambda one, other: one.unionByName(other), parts).distinct() if parts else None

    def _sensitive_of(self, kind: DataType) -> "DataFrame | None":
        """(item_id), or None if there are none."""
        return None if self.sensitive is None else self._list("sensitive_items", *self.sensitive, tables.ITEM_ID, kind)

    def _list(
        self, key: str, config: IdListConfig, files: list[SourceFile], id_name: str, kind: DataType
    ) -> "DataFrame":
        """(id), distinct, in the type of the log's.

        Raises:
            InputError: the column is missing, or one of its ids cannot be one of the log's: half a list is none.
        """
        frame = read_source(self.spark, config, files)
        require_columns(frame, {f"privacy.{key}.id": config.id}, config)
        given = quoted(config.id)
        ids = frame.select(given.try_cast(kind).alias(id_name), given.isNotNull().alias("given"))
        unread = ids.filter(F.col(id_name).isNull() & F.col("given")).limit(1).count()
        if unread:
            raise InputError(
                f"{', '.join(config.paths)} (`privacy.{key}`): column {config.id!r} has ids that are no "
                f"{kind.simpleString()}, the type of the log's.",
                "Correct the list: an id that is not understood would not be left out.",
            )
        return ids.filter(F.col(id_name).isNotNull()).select(id_name).distinct()


def logged_types(spark: "SparkSession", prepared: Path) -> dict[str, DataType]:
    """USER_ID and ITEM_ID -> their type in the logs, before pseudonyms, as stage prepare's manifest says; of tables
    without a manifest their own."""
    found = {tables.USER_ID: "user_ids", tables.ITEM_ID: "item_ids"}
    own = {name: read_table(spark, prepared / table).schema[name].dataType for name, table in found.items()}
    try:
        said = read_json(prepared / "manifest.json")["facts"]["id_types"]
    except (OSError, ValueError, KeyError):
        return own
    schema = spark.createDataFrame([], ", ".join(f"{name} {said[name]}" for name in own)).schema  # type: ignore[type-var]
    return {name: schema[name].dataType for name in own}
