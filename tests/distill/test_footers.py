"""Row groups in the order in which Petastorm hands them out, which shards are counted by."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdspark.distill.footers import is_list, row_groups
from kdspark.distill.petastorm_reader import open_folder, opened
from kdspark.errors import InputError


def _write(path: Path, *groups: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema({"x": pa.int32()})
    with pq.ParquetWriter(path, schema) as writer:
        for rows in groups:
            writer.write_table(pa.table({"x": pa.array([rows] * rows, pa.int32())}, schema))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {"b": (2, 3), "a": (1,), "c": (5,), ".hidden": (11,), "_hidden": (13,)}
    for name, groups in files.items():
        _write(tmp_path / f"{name}.parquet", *groups)
    (tmp_path / "_SUCCESS").touch()
    return tmp_path


def test_files_by_path_then_groups_as_in_the_file(folder: Path) -> None:
    fs, root = open_folder(str(folder))
    assert row_groups(fs, root, str(folder), ["x"]) == [1, 2, 3, 5]


def test_petastorm_reads_the_same_groups_in_the_same_order(folder: Path) -> None:
    fs, root = open_folder(str(folder))
    with opened(fs, root, ["x"], shuffle_seed=None, rank=0, world=1) as chunks:
        read = [chunk["x"].tolist() for chunk in chunks]
    assert read == [[rows] * rows for rows in row_groups(fs, root, str(folder), ["x"])]


def test_a_column_that_is_no_tensor(folder: Path) -> None:
    fs, root = open_folder(str(folder))
    with pytest.raises(InputError, match="column 'y' is missing"):
        row_groups(fs, root, str(folder), ["y"])
    pq.write_table(pa.table({"x": ["text"]}), folder / "z.parquet")
    with pytest.raises(InputError, match="'x' is string, which is no tensor"):
        row_groups(fs, root, str(folder), ["x"])


@pytest.mark.parametrize("kind", [pa.list_(pa.int32()), pa.large_list(pa.int32()), pa.list_(pa.int32(), 2)])
def test_lists_of_any_kind(kind: pa.DataType) -> None:
    assert is_list(kind)
    assert not is_list(pa.int32())
