"""Files that a night reads: where they are, and how they are read."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from kdspark.config.base import Strict, refuse_credentials

Format = Literal["parquet", "csv", "json"]
Encoding = Literal["UTF-8", "ISO-8859-1"]


class SourceConfig(Strict):
    """Files of one kind: paths or globs, format, and the reader's options.

    Folders named `key=value` (Hive partitions, as in events/dt=2026-11-01/) are text columns, whether `paths` name the
    root, some of the folders or the files; a column of that name in the files themselves wins.

    Args:
        header: whether CSV files start with the names of their columns; without, they are called _c0, _c1, ….
        encoding: of CSV and JSON lines. Spark's readers know few others, and could not split lines in them; export
            what is neither (Windows-1252, UTF-16) as UTF-8.
    """

    paths: Annotated[list[str], Field(min_length=1)]
    format: Format = "parquet"
    delimiter: str = ","
    header: bool = True
    encoding: Encoding = "UTF-8"

    @field_validator("paths", mode="before")
    @classmethod
    def _one_path_is_a_list(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @field_validator("paths")
    @classmethod
    def _without_credentials(cls, value: list[str]) -> list[str]:
        for path in value:
            refuse_credentials(path)
        return value

    @model_validator(mode="after")
    def _keys_of_the_format(self) -> "SourceConfig":
        own = {"parquet": (), "csv": ("delimiter", "header", "encoding"), "json": ("encoding",)}[self.format]
        idle = [key for key in ("delimiter", "header", "encoding") if key not in own]
        self.refuse_idle(idle, f"with `format: {self.format}`")
        return self
