"""Hostile and damaged artifacts: fault 35. Nothing below ROOT is unpickled, and hashes are checked before parsing.

What a next night goes on from is in tests/stages/test_previous.py and test_warm.py, damaged stages in
tests/stages/test_runner.py, manifests in tests/workspace/test_layout.py, checkpoints in
tests/distill/test_checkpoint.py.
"""

import hashlib
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdspark import tables
from kdspark.distill.checkpoint import load_checkpoint, save_checkpoint
from kdspark.distill.feed import ParquetFeed
from kdspark.errors import InputError, ModelError
from kdspark.models import storage
from kdspark.workspace import digest_of, read_json, write_json
from tests.faults.nights import DATE, FaultyNight
from tests.models import zoo


class Marker:
    """Unpickled, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """Where a folder comes to be if anything is unpickled."""
    return tmp_path / "marker"


def test_the_marker_works(marker: Path) -> None:
    pickle.loads(pickle.dumps(Marker(marker)))
    assert marker.is_dir()


@pytest.mark.parametrize("honest", [True, False], ids=["right digest", "wrong digest"])
def test_fault_35_a_pickle_for_a_model(
    tmp_path: Path, marker: Path, honest: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    storage.save_model(zoo.ZOO["gru"](), folder)
    data = pickle.dumps(Marker(marker))
    (folder / "model.safetensors").write_bytes(data)
    for name in ("model.pt", "pytorch_model.bin", "model.pkl"):
        (folder / name).write_bytes(data)
    if honest:
        write_json(
            folder / "model.json", read_json(folder / "model.json") | {"sha256": hashlib.sha256(data).hexdigest()}
        )
    else:
        monkeypatch.setattr(storage, "load", lambda data: pytest.fail("parsed before its digest was checked"))
    with pytest.raises(ModelError, match="cannot be parsed" if honest else "sha256"):
        storage.load_model(folder, zoo.items())
    (folder / "model.json").write_bytes(data)
    with pytest.raises(ModelError, match="damaged"):
        storage.load_model(folder, zoo.items())
    assert not marker.exists()


def test_fault_35_a_pickle_for_a_checkpoint(tmp_path: Path, marker: Path) -> None:
    import torch

    save_checkpoint(tmp_path, 1, {"w": torch.zeros(2)}, {"step": 1})
    data = pickle.dumps(Marker(marker))
    described = {"sha256": hashlib.sha256(data).hexdigest(), "state": {"step": 2}}
    (tmp_path / "step-000000002.safetensors").write_bytes(data)
    write_json(tmp_path / "step-000000002.json", {**described, "digest": digest_of(described)})
    (tmp_path / "step-000000003.json").write_bytes(data)
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert found[1] == {"step": 1}
    assert not marker.exists()


@pytest.mark.parametrize("when", ["before", "after"])
def test_fault_35_pickled_metadata_beside_training_rows(tmp_path: Path, marker: Path, when: str) -> None:
    """What comes after the folder was looked at finds nobody who would unpickle it, either."""
    folder = tmp_path / "rows"
    folder.mkdir()
    rows = pa.table({tables.USER_IDX: np.arange(8, dtype=np.int32)})
    pq.write_table(rows, folder / "part-0.parquet")
    pickled = {b"dataset-toolkit.unischema.v1": pickle.dumps(Reached(marker))}
    groups = {b"dataset-toolkit.num_row_groups_per_file.v1": b'{"part-0.parquet": 1}'}
    schema = rows.schema.with_metadata({**pickled, **groups})

    def plant() -> None:
        pq.write_metadata(schema, folder / "_common_metadata")

    if when == "before":
        plant()
        with pytest.raises(InputError, match="unpickle"):
            ParquetFeed(folder, [tables.USER_IDX], 4, seed=1)
    else:
        feed = ParquetFeed(folder, [tables.USER_IDX], 4, seed=1)
        plant()
        assert sum(len(batch[tables.USER_IDX]) for batch in feed.epoch(0)) == 8
    assert not marker.exists()


class Reached:
    """As Marker, by way of the builtins, which Petastorm's own unpickler lets through."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, (f"__import__('os').mkdir({str(self.path)!r})",)


AUDITED = """
import sys

def watch(event, arguments):
    if event != "pickle.find_class":
        return
    frame, files = sys._getframe(), []
    while frame is not None:
        files.append(frame.f_code.co_filename)
        frame = frame.f_back
    # Spark's own rows and functions, and numba's cache beside the installed code: neither lies below ROOT
    if not any(part in file for file in files for part in ("pyspark", "py4j", "numba")):
        sys.stderr.write(f"UNPICKLED {arguments} by {files}\\n")

sys.addaudithook(watch)
"""


@pytest.mark.faults
def test_fault_35_a_night_that_is_full_of_pickles(tmp_path: Path, marker: Path) -> None:
    night = FaultyNight(tmp_path)
    night.main = AUDITED + night.main
    first = night.run()
    assert first.code == 0, first.log
    assert "UNPICKLED" not in first.log
    tree, stages = night.tree, night.root / "stages"
    data = pickle.dumps(Marker(marker))
    # files that no stage wrote, and models that are pickles and say so truly
    for model in stages.rglob("model.json"):
        (model.parent / "model.safetensors").write_bytes(data)
        model.write_text(json.dumps(read_json(model) | {"sha256": hashlib.sha256(data).hexdigest()}))
    (examples,) = stages.glob("prepare/*/examples_train")
    pq.write_metadata(
        pa.schema([]).with_metadata({b"dataset-toolkit.unischema.v1": pickle.dumps(Reached(marker))}),
        examples / "_common_metadata",
    )
    refused = night.run("--force")
    assert refused.code == 3, refused.log
    assert "_common_metadata" in refused.errors[0]
    assert night.tree == tree
    (examples / "_common_metadata").unlink()
    again = night.run("--force")
    assert again.code == 0, again.log
    assert "is made anew" in again.log
    assert "UNPICKLED" not in refused.log + again.log
    assert night.ask("verify", "--all").code == 0
    assert not marker.exists()
    assert DATE in night.ask("runs").log
