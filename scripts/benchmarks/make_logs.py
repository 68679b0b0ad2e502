"""Entry point of scripts/make_logs."""

import re
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import logs
import typer
import yaml
from surroundings import called_from

from kdspark.cli import configure_logging
from kdspark.config import SparkConfig
from kdspark.spark.session import build_session

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_PART = re.compile(r"(part-\d{5})-[0-9a-f-]{36}[.-]c000(.*\.parquet)")


def main(
    out: Annotated[str, typer.Option(help="Folder, on a file system that every executor sees.")],
    users: Annotated[int, typer.Option(min=1)] = 400_000,
    items: Annotated[int, typer.Option(min=1)] = 50_000,
    events: Annotated[int, typer.Option(min=1)] = 20_000_000,
    seed: Annotated[int, typer.Option()] = 1,
    days: Annotated[int, typer.Option(min=1)] = 60,
) -> None:
    """Write FOLDER/interactions (one folder per day), FOLDER/users, FOLDER/items and FOLDER/config.yaml."""
    configure_logging()
    shape = logs.Shape(users, items, events, seed, days)
    folder = called_from(out)
    if folder.exists() and any(folder.iterdir()):
        typer.echo(f"make_logs: error: {folder} is not empty. Choose another folder.", err=True)
        raise typer.Exit(2)
    started = perf_counter()
    generate(build_session(SparkConfig(), "make_logs"), shape, folder)
    typer.echo(f"{events:,} events of {users:,} users on {items:,} items in {folder}, {perf_counter() - started:.0f} s")


def generate(spark: "SparkSession", shape: logs.Shape, folder: Path, rows_per_task: int = 2_000_000) -> None:
    """Write the tables of a shape and a configuration for them.

    Args:
        rows_per_task: of one file, or of one task's files of several days; nothing else depends on how many tasks run.
    """
    side = -(-max(shape.users, shape.items) // rows_per_task)
    write(logs.users(spark, shape, side), folder / "users")
    write(logs.items(spark, shape, side), folder / "items")
    write(logs.interactions(spark, shape, -(-shape.events // rows_per_task)), folder / "interactions", by="day")
    (folder / "config.yaml").write_text(yaml.safe_dump(config_of(folder), sort_keys=False), encoding="utf-8")


def write(frame: "DataFrame", folder: Path, by: str | None = None) -> None:
    """Parquet files whose names, too, depend on the rows alone."""
    writer = frame.write.option("compression", "zstd")
    (writer.partitionBy(by) if by else writer).parquet(folder.resolve().as_uri())
    for path in sorted(folder.rglob("*.parquet")):
        named = _PART.fullmatch(path.name)
        assert named is not None, path
        path.rename(path.with_name(named[1] + named[2]))
    for rest in folder.rglob(".*.crc"):
        rest.unlink()
    (folder / "_SUCCESS").unlink(missing_ok=True)


def config_of(folder: Path) -> dict[str, object]:
    """What a night of these logs needs to know of them; models and their settings are the defaults'."""
    return {
        "name": "generated",
        "data": {
            "interactions": {"paths": str(folder / "interactions")},
            "columns": {
                "user": "user_id",
                "item": "item_id",
                "timestamp": "ts",
                "timestamp_unit": "s",
                "weight": "weight",
            },
            "users": {
                "paths": str(folder / "users"),
                "id": "user_id",
                "categorical": ["country"],
                "numeric": ["age"],
            },
            "items": {
                "paths": str(folder / "items"),
                "id": "item_id",
                "categorical": ["category"],
                "multi_valued": {"tags": "|"},
                "numeric": ["price"],
                "dense": ["vector"],
            },
            "split": {"kind": "temporal"},
        },
        "teacher": {"kind": "bag", "dim": 128, "training": {"negatives": 2048}},
        "student": {"kind": "mf", "dim": 16},
    }


if __name__ == "__main__":
    typer.run(main)
