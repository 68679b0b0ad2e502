"""Lists in Spark equal a brute-force ranking; strangers get popular items; no batch or partition changes a score."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from kdspark import tables
from kdspark.bridge.labels import write_labels
from kdspark.bridge.recommending import recommend
from kdspark.bridge.scoring import rank_users
from kdspark.bridge.shipping import ship_ids
from kdspark.config import ScoringConfig, SoftLabelsConfig, TransformerConfig
from kdspark.models.batch import FeatureSizes, ItemTable, UserBatch
from kdspark.models.build import build_model
from kdspark.models.recommender import Recommender
from kdspark.models.storage import load_item_vectors, save_serving
from kdspark.spark.io import read_table
from kdspark.spark.user_files import laid_out, write_beside

N_USERS, N_ITEMS, LENGTH = 41, 30, 6
GENERATOR = np.random.default_rng(11)
HISTORIES = GENERATOR.integers(-1, N_ITEMS, (N_USERS, LENGTH))
HISTORIES[3] = tables.PAD  # a stranger
COUNTS = GENERATOR.integers(0, 9, N_ITEMS)
SHORT = ScoringConfig(k=5, batch_size=7, memory_mib=16)


@pytest.fixture(scope="module")
def model() -> Recommender:
    items = ItemTable.without_features(COUNTS)
    config = TransformerConfig(dim=8, heads=2, history_length=LENGTH)
    built = build_model(config, N_USERS, N_ITEMS, items, FeatureSizes(), seed=3)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.3)
    return built.eval()


@pytest.fixture(scope="module")
def bundle(model: Recommender, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    save_serving(model, folder)
    return folder


def frame(spark: SparkSession, partitions: int) -> DataFrame:
    rows = [(user, HISTORIES[user].tolist(), [], [], []) for user in range(N_USERS)]
    schema = "user_idx INT, history ARRAY<INT>, codes ARRAY<INT>, numbers ARRAY<FLOAT>, vector ARRAY<FLOAT>"
    return spark.createDataFrame(rows, schema).repartition(partitions)


def users() -> UserBatch:
    nothing = np.empty((N_USERS, 0))
    return UserBatch.from_numpy(np.arange(N_USERS), HISTORIES, nothing, nothing, nothing)


def brute_force(model: Recommender, k: int) -> list[list[int]]:
    with torch.inference_mode():
        items_ND = model.encode_items()
        scores = (model.encode_users(users(), items_ND) @ items_ND.T).numpy()
    lists = []
    for user in range(N_USERS):
        own = COUNTS / COUNTS.sum() if user == 3 else scores[user]
        allowed = [item for item in range(N_ITEMS) if COUNTS[item] > 0 and item not in HISTORIES[user]]
        lists.append(sorted(allowed, key=lambda item: (-own[item], item))[:k])
    return lists


def pairs(spark: SparkSession) -> DataFrame:
    seen = [(u, int(item)) for u in range(N_USERS) for item in HISTORIES[u] if item >= 0]
    return spark.createDataFrame(seen, "user_idx INT, seen INT")


def seen(spark: SparkSession) -> DataFrame:
    return pairs(spark).groupBy("user_idx").agg(F.collect_set("seen").alias("seen"))


@pytest.mark.parametrize(("partitions", "batch_size"), [(1, 64), (3, 7), (5, 1)])
def test_lists_equal_brute_force(
    spark: SparkSession, model: Recommender, bundle: Path, partitions: int, batch_size: int
) -> None:
    ranked, timing = rank_users(frame(spark, partitions), seen(spark), bundle, 5, batch_size, 16)
    rows = {row.user_idx: row for row in ranked.collect()}
    assert [list(rows[user]["items"]) for user in range(N_USERS)] == brute_force(model, 5)
    assert {user for user, row in rows.items() if row.reason == tables.REASON_COLD_START} == {3}
    assert timing.encode.value > 0
    assert timing.score.value > 0


@pytest.mark.parametrize("mask_history", [True, False])
@pytest.mark.parametrize(("tasks", "kind"), [(1, "STRING"), (3, "BIGINT")])
def test_recommendations_are_the_lists_in_external_ids(
    spark: SparkSession, bundle: Path, tmp_path: Path, tasks: int, kind: str, mask_history: bool
) -> None:
    users = frame(spark, 2).selectExpr("*", "concat('u', user_idx) AS user_id")
    vocabulary = spark.range(N_ITEMS).selectExpr("CAST(id AS INT) item_idx", f"CAST(id + 100 AS {kind}) item_id")
    vocabulary.orderBy("item_idx", ascending=False).write.parquet(str(tmp_path / "item_ids"))
    ids = ship_ids(spark, tmp_path / "item_ids", "item_idx", "item_id", tmp_path)
    # what histories hold need not be listed as well
    listed = pairs(spark).filter("user_idx % 3 = 0") if mask_history else pairs(spark)
    laid_out(users, N_USERS).write.parquet(str(tmp_path / "users"))
    beside = [write_beside(listed, tmp_path / "users", tmp_path / "seen")]
    found = recommend(spark, tmp_path / "users", beside, bundle, ids, SHORT, tasks, mask_history).frame()
    assert found.rdd.getNumPartitions() == tasks
    assert found.schema["items"].dataType.elementType["item_id"].dataType.simpleString() == kind.lower()
    ranked, _ = rank_users(frame(spark, 2), seen(spark), bundle, 5, 64, 16)
    expected = {
        f"u{row.user_idx}": [(*pair, row.reason) for pair in zip(row["items"], row.scores, strict=True)]
        for row in ranked.collect()
    }
    assert expected == {
        row.user_id: [(int(item.item_id) - 100, item.score, item.reason) for item in row["items"]]
        for row in found.collect()
    }


def test_nothing_is_shuffled(spark: SparkSession, bundle: Path, tmp_path: Path) -> None:
    spark.range(N_ITEMS).selectExpr("CAST(id AS INT) item_idx", "id AS item_id").write.parquet(str(tmp_path / "ids"))
    ids = ship_ids(spark, tmp_path / "ids", "item_idx", "item_id", tmp_path)
    users = frame(spark, 2).selectExpr("*", "concat('u', user_idx) AS user_id")
    laid_out(users, N_USERS).write.parquet(str(tmp_path / "users"))
    beside = [write_beside(pairs(spark), tmp_path / "users", tmp_path / "seen")]
    found = recommend(spark, tmp_path / "users", beside, bundle, ids, SHORT, 3, False).frame()
    plan = found._jdf.queryExecution().executedPlan().toString()  # type: ignore[operator]
    assert not set(re.findall(r"Exchange|Join|Sort", plan))


def test_scores_do_not_depend_on_partitions(spark: SparkSession, bundle: Path) -> None:
    results = []
    for partitions in (1, 4):
        ranked, _ = rank_users(frame(spark, partitions), None, bundle, 6, 16, 16)
        results.append({row.user_idx: (list(row["items"]), list(row.scores)) for row in ranked.collect()})
    assert results[0] == results[1]


def test_list_is_shorter_only_where_items_run_out(spark: SparkSession, bundle: Path) -> None:
    ranked, _ = rank_users(frame(spark, 2), seen(spark), bundle, N_ITEMS, 16, 16)
    for row in ranked.collect():
        left = (COUNTS > 0).sum() - sum(COUNTS[item] > 0 for item in set(HISTORIES[row.user_idx]) if item >= 0)
        assert len(row["items"]) == left


def test_labels_are_the_teachers_own_scores(
    spark: SparkSession, model: Recommender, bundle: Path, tmp_path: Path
) -> None:
    rows = [(u, p, HISTORIES[u].tolist(), [1], [], [], []) for u in range(N_USERS) for p in (1, 2)]
    examples = spark.createDataFrame(rows, tables.ddl("examples")).repartition(3)
    config = SoftLabelsConfig(top_k=4, tail=3, batch_size=8)
    count = write_labels(examples, tmp_path / "3", bundle, config, "t", seed=5, vectors=True)
    assert count == write_labels(examples.repartition(1), tmp_path / "1", bundle, config, "t", seed=5) == len(rows)
    labelled, again = (read_table(spark, tmp_path / name).collect() for name in "31")
    columns = tables.columns("soft_labels")
    first, second = ({(r.user_idx, r.position): [r[c] for c in columns] for r in rows} for rows in (labelled, again))
    assert first == second
    assert again[0].__fields__ == columns
    with torch.inference_mode():
        items_ND = model.encode_items()
        scores = (model.encode_users(users(), items_ND) @ items_ND.T).numpy()
    tails = set()
    for row in labelled:
        present = [(item, logit) for item, logit in zip(row.candidates, row.logits, strict=True) if item != tables.PAD]
        for item, logit in present:
            assert logit == pytest.approx(scores[row.user_idx, item], abs=1e-5)
        by_vectors = load_item_vectors(bundle) @ torch.tensor(row.teacher_vector)
        if row.user_idx == 3:
            assert not any(row.teacher_vector)
        else:
            assert [by_vectors[item] for item, _ in present] == pytest.approx([logit for _, logit in present], abs=1e-5)
            left = [i for i in range(N_ITEMS) if COUNTS[i] > 0 and i not in HISTORIES[row.user_idx]]
            best = sorted(left, key=lambda item: (-scores[row.user_idx, item], item))[:4]
            assert list(row.candidates[:4]) == best
        tails.add((row.user_idx, tuple(row.candidates[4:])))
    assert len(tails) > N_USERS  # the two positions of a user draw different tails
