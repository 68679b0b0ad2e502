"""The scoring job, from Parquet to Parquet, against MLlib ALS' recommendForAllUsers and against the kernel alone.

All have the same factors, which are drawn, since only the cost is measured. kdspark leaves out what each user has seen;
ALS cannot. Processor time counts against ALS (of the driver, the JVM and Python's workers), wall time against the
kernel, which has its arrays in memory and keeps its lists there. Methods take turns; ratios are medians over turns.

Legend: U users, N items, D dims, K list length.
"""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from drawn import Drawn, Shape, rows_of, write
from processes import in_turns
from pyspark.ml.recommendation import ALS, ALSModel
from surroundings import machine

from kdspark import tables
from kdspark.bridge.arrow import list_array
from kdspark.config import SparkConfig
from kdspark.errors import StageError
from kdspark.spark.io import uri
from kdspark.spark.session import build_session

NAME = "score"
SHAPES = (Shape(50_000, 20_000, 64, als=True), Shape(400_000, 50_000, 64))


def run(out: Path, shapes: tuple[Shape, ...] = SHAPES, repeats: int = 3, k: int = 10) -> dict[str, Any]:
    """Seconds per method and shape, and the ratios: against ALS on the first shape, against the kernel on the last."""
    spark = build_session(SparkConfig(settings={"spark.driver.memory": "6g"}), NAME)
    rows: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    for number, shape in enumerate(shapes):
        folder = out.resolve() / str(number)
        shutil.rmtree(folder, ignore_errors=True)
        drawn = Drawn(spark, shape, folder, k)
        turns = in_turns(_methods(drawn), repeats, partial(_check_lists, drawn))
        rows += rows_of(turns, shape, k)
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


def _methods(drawn: Drawn) -> dict[str, Callable[[], object]]:
    methods: dict[str, Callable[[], object]] = {"score": drawn.job(), "kernel": drawn.kernel}
    return {**methods, "als": _als(drawn)} if drawn.shape.als else methods


def _check_lists(drawn: Drawn) -> None:
    """
    Raises:
        StageError: the job's lists are not the kernel's.
    """
    columns = [tables.USER_ID, tables.RANK, tables.ITEM_ID]
    rows = pq.read_table(drawn.folder / "lists", columns=columns).sort_by([(name, "ascending") for name in columns])
    items_UK, _ = drawn.kernel()
    if not np.array_equal(np.asarray(rows.column(tables.ITEM_ID)), items_UK.ravel()):
        raise StageError("The job's lists are not those of the kernel.", "Correct one.")


def _als(drawn: Drawn) -> Callable[[], object]:
    """A fitted model, whose factors give way to these."""
    folder = drawn.folder / "als"
    few = drawn.spark.createDataFrame([(0, 0, 1.0), (1, 1, 1.0)], "user INT, item INT, rating FLOAT")
    ALS(rank=drawn.shape.dims, maxIter=1).fit(few).save(uri(folder))
    for name, vectors in (("userFactors", drawn.users_UD), ("itemFactors", drawn.items_ND)):
        shutil.rmtree(folder / name)
        ids = np.arange(len(vectors), dtype=np.int32)
        write(folder / name, {"id": ids, "features": list_array(vectors, pa.float32())})

    def als() -> object:
        shutil.rmtree(folder / "lists", ignore_errors=True)
        lists = ALSModel.load(uri(folder)).recommendForAllUsers(drawn.k)
        rows = lists.selectExpr("user", "posexplode(recommendations) AS (place, item)")
        return rows.select("user", "place", "item.*").write.parquet(uri(folder / "lists"))

    return als
