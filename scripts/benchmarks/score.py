"""The scoring job, from Parquet to Parquet, against MLlib ALS' recommendForAllUsers and against the kernel alone.

All have the same factors, which are drawn, since only the cost is measured. kdspark leaves out what each user has seen;
ALS cannot. Processor time counts against ALS (of the driver, the JVM and Python's workers), wall time against the
kernel, which has its arrays in memory and keeps its lists there. Methods take turns; ratios are medians over turns.

Legend: U users, N items, D dims, K list length.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from processes import cpu_seconds
from pyspark.ml.recommendation import ALS, ALSModel
from surroundings import machine

from kdspark import tables
from kdspark.bridge.arrow import list_array
from kdspark.bridge.prepared import Prepared
from kdspark.config import FeaturesConfig, ScoringConfig, SparkConfig
from kdspark.errors import StageError
from kdspark.models.batch import ItemTable
from kdspark.models.closed_form import Factors
from kdspark.models.storage import save_serving
from kdspark.ranking.ragged import latest
from kdspark.ranking.topk import top_k
from kdspark.spark.io import uri
from kdspark.spark.session import build_session
from kdspark.stages.score import as_rows, recommendations

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NAME = "score"
_SEEN, _HEAVY_SEEN, _HEAVY = 50, 150, 50  # items; of every so many users the first has more than a history holds
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Shape:
    """How many users and items, and of how many dimensions; whether ALS is to do it, too."""

    users: int
    items: int
    dims: int
    als: bool


SHAPES = (Shape(50_000, 20_000, 64, als=True), Shape(400_000, 50_000, 64, als=False))


def run(out: Path, shapes: tuple[Shape, ...] = SHAPES, repeats: int = 3, k: int = 10) -> dict[str, Any]:
    """Seconds per method and shape, and the ratios: against ALS on the first shape, against the kernel on the last."""
    spark = build_session(SparkConfig(settings={"spark.driver.memory": "6g"}), NAME)
    rows: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    for number, shape in enumerate(shapes):
        folder = out.resolve() / str(number)
        shutil.rmtree(folder, ignore_errors=True)
        drawn = _Methods(spark, shape, folder, k)
        methods = drawn.all()
        turns: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
        for turn in range(repeats + 1):  # the first turn warms up
            for name, method in methods.items():
                shutil.rmtree(folder / "lists", ignore_errors=True)
                spent = _timed(method)
                if turn:
                    turns[name].append(spent)
                elif name == NAME:
                    drawn.check_lists()
        rows += [
            {
                "method": name,
                "users": shape.users,
                "items": shape.items,
                "dims": shape.dims,
                "k": k,
                "cpu_seconds": median(cpu for cpu, _ in spent),
                "wall_seconds": median(wall for _, wall in spent),
            }
            for name, spent in turns.items()
        ]
        job = turns["score"]
        if shape.als:
            ratios["score_cpu_vs_als"] = median(one[0] / two[0] for one, two in zip(job, turns["als"], strict=True))
        ratios["score_wall_vs_kernel"] = median(one[1] / two[1] for one, two in zip(job, turns["kernel"], strict=True))
        shutil.rmtree(folder)
    return {"bench": NAME, "machine": machine(), "rows": rows, "ratios": ratios}


def text_table(result: dict[str, Any]) -> str:
    """The result for a terminal."""
    lines = [f"{'method':8} {'users':>9} {'items':>8} {'dims':>5} {'k':>4}  {'cpu s':>8}  {'wall s':>8}"]
    lines += [
        f"{row['method']:8} {row['users']:9,} {row['items']:8,} {row['dims']:5} {row['k']:4}  "
        f"{row['cpu_seconds']:8.2f}  {row['wall_seconds']:8.2f}"
        for row in result["rows"]
    ]
    ratios = [f"{name} {value:.3f}" for name, value in result["ratios"].items()]
    return "\n".join([*lines, *ratios, result["machine"]])


class _Methods:
    """Factors and what users have seen, drawn once, as every method wants them."""

    def __init__(self, spark: "SparkSession", shape: Shape, folder: Path, k: int) -> None:
        self.spark, self.shape, self.folder, self.k = spark, shape, folder, k
        generator = np.random.default_rng(0)
        self.users_UD = generator.standard_normal((shape.users, shape.dims), np.float32)
        self.items_ND = generator.standard_normal((shape.items, shape.dims), np.float32)
        counts = np.where(np.arange(shape.users) % _HEAVY == 0, _HEAVY_SEEN, _SEEN)
        self.indptr = np.concatenate([[0], np.cumsum(counts)])
        self.seen = generator.integers(0, shape.items, self.indptr[-1], np.int32)
        folder.mkdir(parents=True)

    def all(self) -> dict[str, Callable[[], object]]:
        methods: dict[str, Callable[[], object]] = {"score": self._job(), "kernel": self._kernel}
        return {**methods, "als": self._als()} if self.shape.als else methods

    def check_lists(self) -> None:
        """
        Raises:
            StageError: the job's lists are not the kernel's.
        """
        columns = [tables.USER_ID, tables.RANK, tables.ITEM_ID]
        rows = pq.read_table(self.folder / "lists", columns=columns).sort_by([(name, "ascending") for name in columns])
        items_UK, _ = self._kernel()
        if not np.array_equal(np.asarray(rows.column(tables.ITEM_ID)), items_UK.ravel()):
            raise StageError("The job's lists are not those of the kernel.", "Correct one.")

    def _kernel(self) -> tuple[npt.NDArray[np.int32], Floats]:
        seen = self.indptr, self.seen
        return top_k(self.users_UD, self.items_ND, self.k, seen, threads=torch.get_num_threads())

    def _job(self) -> Callable[[], object]:
        """The scoring stage's own functions, on tables as the stage prepare writes them."""
        shape, folder = self.shape, self.folder
        catalogue = ItemTable.without_features(np.ones(shape.items, np.int64))
        save_serving(Factors.from_numpy(self.users_UD, self.items_ND, catalogue), folder / "serving")
        everyone = np.arange(shape.users, dtype=np.int32)
        places = FeaturesConfig().history_length
        none = list_array(np.empty((shape.users, 0), np.float32), pa.float32())
        _write(
            folder / "users_full",
            {
                tables.USER_IDX: everyone,
                tables.USER_ID: pa.array(everyone.astype(np.int64)),
                tables.N_EVENTS: np.diff(self.indptr).astype(np.int32),
                tables.HISTORY: list_array(latest((self.indptr, self.seen), places), pa.int32()),
                tables.CODES: list_array(np.empty((shape.users, 0), np.int32), pa.int32()),
                tables.NUMBERS: none,
                tables.VECTOR: none,
            },
        )
        _write(
            folder / "interactions",
            {
                tables.USER_IDX: np.repeat(everyone, np.diff(self.indptr)),
                tables.ITEM_IDX: self.seen,
                tables.SPLIT: pa.array(np.repeat(tables.TRAIN, len(self.seen))),
            },
            files=1,  # whole users
        )
        items = np.arange(shape.items, dtype=np.int32)
        _write(folder / "item_ids", {tables.ITEM_IDX: items, tables.ITEM_ID: pa.array(items.astype(np.int64))})
        config = ScoringConfig(k=self.k)

        def job() -> object:
            found = recommendations(self.spark, Prepared(folder), folder / "serving", config)
            return as_rows(found).write.parquet(uri(folder / "lists"))

        return job

    def _als(self) -> Callable[[], object]:
        """A fitted model, whose factors give way to these."""
        folder = self.folder / "als"
        few = self.spark.createDataFrame([(0, 0, 1.0), (1, 1, 1.0)], "user INT, item INT, rating FLOAT")
        ALS(rank=self.shape.dims, maxIter=1).fit(few).save(uri(folder))
        for name, vectors in (("userFactors", self.users_UD), ("itemFactors", self.items_ND)):
            shutil.rmtree(folder / name)
            ids = np.arange(len(vectors), dtype=np.int32)
            _write(folder / name, {"id": ids, "features": list_array(vectors, pa.float32())})

        def als() -> object:
            lists = ALSModel.load(uri(folder)).recommendForAllUsers(self.k)
            rows = lists.selectExpr("user", "posexplode(recommendations) AS (place, item)")
            return rows.select("user", "place", "item.*").write.parquet(uri(self.folder / "lists"))

        return als


def _write(folder: Path, columns: dict[str, Any], files: int = 4) -> None:
    folder.mkdir(parents=True)
    table = pa.table(columns)
    step = -(-table.num_rows // files)
    for number in range(files):
        pq.write_table(table.slice(number * step, step), folder / f"part-{number}.parquet", row_group_size=100_000)


def _timed(method: Callable[[], object]) -> tuple[float, float]:
    cpu, wall = cpu_seconds(), perf_counter()
    method()
    return cpu_seconds() - cpu, perf_counter() - wall
