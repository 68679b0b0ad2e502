"""The files that a night reads: logs and side tables, listed before anything runs and read once."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdspark import tables
from kdspark.config import DataConfig, SourceConfig
from kdspark.errors import EmptyDayError, NoRowsError
from kdspark.spark.ingest import Ingested, read_interactions
from kdspark.spark.side_table import SideTable, read_side
from kdspark.spark.sources import SourceFile, list_files
from kdspark.spark.withheld import Withheld
from kdspark.stages.increment import Increment
from kdspark.stages.stage import Night

if TYPE_CHECKING:
    from pyspark.sql.types import DataType

LOG = "interactions"
SIDES = (("users", tables.USER_IDX, tables.USER_ID), ("items", tables.ITEM_IDX, tables.ITEM_ID))
"""Name of a side table, and its columns of indices and ids."""


def sources_of(data: DataConfig) -> dict[str, SourceConfig]:
    """All inputs that there are: "interactions", "users", "items", "valid", "test"."""
    named = {
        "interactions": data.interactions,
        "users": data.users,
        "items": data.items,
        "valid": data.split.valid,
        "test": data.split.test,
    }
    return {name: source for name, source in named.items() if source is not None}


def listed_files(night: Night, names: Iterable[str] | None = None) -> dict[str, list[dict[str, Any]]]:
    """The files of the named inputs ("interactions", "users", "items", "valid", "test"; None: of all), where there are
    any; as the settings of the stage prepare list them."""
    sources = sources_of(night.config.data)
    wanted = sources if names is None else [name for name in names if name in sources]
    listed = {}
    for name in wanted:
        with _a_day_without(name):
            listed[name] = [asdict(file) for file in list_files(night.spark, sources[name])]
    return listed


@contextmanager
def _a_day_without(name: str) -> Iterator[None]:
    """Nothing to read in the log is a day without one; in any other input it is a mistake."""
    try:
        yield
    except NoRowsError as error:
        if name == LOG:
            raise EmptyDayError(error.problem, error.remedy) from error
        raise


def read_logs(
    night: Night,
    scratch: Path,
    files: list[dict[str, Any]],
    increment: Increment | None,
    withheld: Withheld | None = None,
) -> dict[str, Ingested]:
    """The log and the provided parts of its split, by name; the log comes first.

    Args:
        scratch: folder for what is read once and used several times.
        files: the log's, as `listed_files` gave them; any that have come since wait for the next night.
        increment: what was known before, or None where all of the log is to be read.
        withheld: what is left out.
    """
    data = night.config.data
    fresh = increment.files if increment else [SourceFile(**file) for file in files]
    logs: dict[str, Ingested] = {}
    for name, source in ((LOG, data.interactions), ("valid", data.split.valid), ("test", data.split.test)):
        if source is None:
            continue
        with _a_day_without(name):
            logs[name] = read_interactions(
                night.spark,
                source,
                data.columns,
                night.end_us,
                data.filters.max_bad_fraction,
                scratch / f"raw-{name}",
                optional_clock=name != LOG,
                id_types=logs[LOG].id_types if logs else None,
                files=fresh if name == LOG else None,
                before=increment.counts if increment and name == LOG else None,
                nulls_before=increment.nulls if increment and name == LOG else None,
                withheld=withheld,
            )
    return logs


def read_sides(
    night: Night, id_types: dict[str, "DataType"], scratch: Path, withheld: Withheld | None = None
) -> dict[str, SideTable]:
    """The tables of users and items, where there are any.

    Args:
        id_types: types of the log's id columns.
        scratch: folder for what is read once and used several times.
        withheld: what is left out.
    """
    data = night.config.data
    configs = {side: (getattr(data, side), id_name) for side, _, id_name in SIDES}
    return {
        side: read_side(
            *(night.spark, config, id_name, id_types[id_name], data.filters.max_bad_fraction, scratch / f"raw-{side}"),
            withheld=withheld,
        )
        for side, (config, id_name) in configs.items()
        if config is not None
    }
