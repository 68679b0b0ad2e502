"""The item table as model input, and bundles for catalogues that have grown since training."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from kdspark import tables
from kdspark.bridge.items import load_items, serving_bundle
from kdspark.config import BagConfig
from kdspark.errors import StageError
from kdspark.models.batch import FeatureSizes
from kdspark.models.build import build_model
from kdspark.models.storage import load_model, load_serving, save_model, storage_of, store_as


def write(folder, counts, order=None):
    """Table "items" in two files; item n has code n + 1 and number n."""
    order = list(range(len(counts))) if order is None else order
    columns = {
        tables.ITEM_IDX: pa.array(order, pa.int32()),
        tables.N_EVENTS: pa.array([counts[n] for n in order], pa.int32()),
        tables.CODES: pa.array([[n + 1] for n in order], pa.list_(pa.int32())),
        tables.NUMBERS: pa.array([[float(n)] for n in order], pa.list_(pa.float32())),
        tables.VECTOR: pa.array([[] for _ in order], pa.list_(pa.float32())),
    }
    folder.mkdir()
    table = pa.table(columns)
    half = len(order) // 2
    pq.write_table(table.slice(0, half), folder / "a.parquet")
    pq.write_table(table.slice(half), folder / "b.parquet")
    return folder


def test_rows_come_in_the_order_of_item_idx(tmp_path):
    items = load_items(write(tmp_path / "items", [5, 0, 7, 2], [3, 1, 0, 2]))
    assert items.n_events.tolist() == [5, 0, 7, 2]
    assert items.codes.tolist() == [[1], [2], [3], [4]]
    assert items.numbers.tolist() == [[0], [1], [2], [3]]
    assert items.vector.shape == (4, 0)


@pytest.mark.parametrize(("order", "match"), [([0, 0, 1], "duplicates"), ([0, 2], "gaps"), ([], "empty")])
def test_tables_that_are_not_whole_are_refused(tmp_path, order, match):
    with pytest.raises(StageError, match=match):
        load_items(write(tmp_path / "items", [1, 1, 1], order))


@pytest.mark.parametrize(("features", "allowed"), [(False, [True, False, False]), (True, [True, True, True])])
def test_an_item_without_training_events_needs_features(tmp_path, features, allowed):
    trained, tonight = write(tmp_path / "trained", [4, 0]), write(tmp_path / "tonight", [6, 3, 2])
    items = load_items(trained)
    config = BagConfig(dim=2, history_length=3, item_features=features)
    save_model(build_model(config, 1, 2, items, FeatureSizes(), 0), tmp_path / "model")
    serving = load_serving(serving_bundle(tmp_path / "model", tonight, trained, tmp_path / "serving"))
    assert serving.allowed_N.tolist() == allowed
    assert serving.items_ND.shape == (3, 3)
    assert torch.isfinite(serving.items_ND).all()


def test_a_bundle_is_stored_as_its_model_is(tmp_path):
    counts = list(range(600))
    items = write(tmp_path / "items", counts)
    model = build_model(BagConfig(dim=8, history_length=3), 1, 600, load_items(items), FeatureSizes(), 0)
    save_model(model, tmp_path / "model")
    served = []
    for storage in ("float32", "int8"):
        store_as(tmp_path / "model", storage)
        bundle = serving_bundle(tmp_path / "model", items, items, tmp_path / storage)
        assert storage_of(bundle) == storage
        served.append(load_serving(bundle).items_ND)
    assert torch.equal(served[0], model.encode_items())
    stored = load_model(tmp_path / "model", load_items(items)).encode_items()
    torch.testing.assert_close(served[1], stored, rtol=1e-6, atol=0)  # not rounded a second time
    sizes = [(tmp_path / storage / "model.safetensors").stat().st_size for storage in ("float32", "int8")]
    assert sizes[0] - sizes[1] > 600 * (9 * 4 - 8 - 4 - 4 - 1)
