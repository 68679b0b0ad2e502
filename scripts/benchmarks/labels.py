"""The stage of soft labels, from Parquet to Parquet, against the same teacher in a bare PyTorch loop, threads alike.

The loop has the padded histories, and what is to be masked, as tensors in memory; it encodes users in batches of the
same size, multiplies them with the items, masks, calls torch.topk, and keeps items and scores in memory. The stage does
all of its work, in as many tasks of one thread as the loop has threads: it reads Parquet, lays the rows out anew, finds
what histories have no place for, answers exactly, samples a tail, and writes the rows with the answers. Only Spark's
own start is left out. Weights and histories are drawn, since only the cost is measured; methods take turns, and ratios
are medians over turns.

`labels_vs_torch` is that of the large teacher, a Transformer: the worse of two logs, one whose histories are padded by
more than half of their places, and one whose histories are full, so that the stage, which encodes short ones apart,
gains nothing by them. The cheap teacher, whose users' vectors are looked up, shows what the rest of the stage costs.

Legend: B rows of a batch, N items, D dims, K list length.
"""

import shutil
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import torch
from positions import Positions, Shape
from processes import in_turns
from surroundings import machine

from kdspark import tables
from kdspark.bridge.arrow import fixed_lists
from kdspark.config import SparkConfig
from kdspark.errors import StageError
from kdspark.models.storage import load_serving
from kdspark.spark.session import build_session
from kdspark.stages.labels import TABLE

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NAME = "labels"
SHAPES = (
    Shape(2_500, teacher="transformer"),
    Shape(2_000, events=100, teacher="transformer"),
    Shape(5_000, teacher="als"),
)
_CLOSE, _ALIKE = 1e-4, 0.99  # sums in another order move scores by less, and few items to other places


def run(out: Path, shapes: tuple[Shape, ...] = SHAPES, repeats: int = 3) -> dict[str, Any]:
    """Seconds of each method, teacher and log, rows per second, and the worst ratio of a Transformer.

    Raises:
        StageError: the stage's answers are not those of the loop.
    """
    master, settings = f"local[{torch.get_num_threads()},4]", {"spark.driver.memory": "6g"}
    spark = build_session(SparkConfig(master=master, settings=settings), NAME)
    rows: list[dict[str, Any]] = []
    for number, shape in enumerate(shapes):
        folder = out.resolve() / str(number)
        methods = _Methods(spark, shape, folder)
        turns = in_turns({"stage": methods.drawn.label, "torch": methods.bare}, repeats, methods.check)
        for name, spent in turns.items():
            wall = median(seconds for _, seconds in spent)
            rows.append(
                {
                    "method": name,
                    "teacher": shape.teacher,
                    "events": shape.events,
                    "rows": methods.rows,
                    "items": shape.items,
                    "dims": shape.dims,
                    "cpu_seconds": median(cpu for cpu, _ in spent),
                    "wall_seconds": wall,
                    "rows_per_second": methods.rows / wall,
                    "vs_torch": median(bare[1] / this[1] for this, bare in zip(spent, turns["torch"], strict=True)),
                }
            )
        shutil.rmtree(folder)
    large = [row["vs_torch"] for row in rows if row["teacher"] == "transformer" and row["method"] == "stage"]
    ratios = {"labels_vs_torch": min(large, default=None)}
    return {"bench": NAME, "machine": machine(), "rows": rows, "ratios": ratios}


def text_table(result: dict[str, Any]) -> str:
    """The result for a terminal."""
    names = ("teacher", "events", "method", "rows", "cpu s", "wall s", "rows/s", "vs torch")
    lines = ["{:12} {:>6} {:7} {:>9} {:>8} {:>8} {:>8} {:>9}".format(*names)]
    lines += [
        f"{row['teacher']:12} {row['events']:6} {row['method']:7} {row['rows']:9,} {row['cpu_seconds']:8.2f} "
        f"{row['wall_seconds']:8.2f} {row['rows_per_second']:8,.0f} {row['vs_torch']:9.2f}"
        for row in result["rows"]
    ]
    ratios = [f"{name} {value:.3f}" for name, value in result["ratios"].items() if value is not None]
    return "\n".join([*lines, *ratios, result["machine"]])


class _Methods:
    """The stage on drawn rows, and the loop on the same."""

    def __init__(self, spark: "SparkSession", shape: Shape, folder: Path) -> None:
        self.drawn = Positions(spark, shape, folder)
        self.serving = load_serving(self.drawn.bundle)
        config = self.drawn.config.soft_labels
        self.size, self.top_k = config.batch_size, config.top_k
        self.users, (bounds, items) = self.drawn.batch, self.drawn.done
        self.rows = len(self.users)
        places = torch.from_numpy(np.repeat(np.arange(self.rows) % self.size, np.diff(bounds)))
        parts = [slice(bounds[s], bounds[min(s + self.size, self.rows)]) for s in range(0, self.rows, self.size)]
        self.masked = [(places[part], torch.from_numpy(items[part])) for part in parts]

    def bare(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The loop: items and scores [B, K] of each batch."""
        model, items_ND, found = self.serving.model, self.serving.items_ND, []
        with torch.inference_mode():
            for start, masked in zip(range(0, self.rows, self.size), self.masked, strict=True):
                users_BD = model.encode_users(self.users.take(slice(start, start + self.size)), items_ND)
                scores_BN = users_BD @ items_ND.T
                scores_BN[masked] = -torch.inf
                scores_BK, items_BK = scores_BN.topk(self.top_k)
                found.append((items_BK, scores_BK))
        return found

    def check(self) -> None:
        """
        Raises:
            StageError: the stage's answers are not those of the loop, but for the rounding of scores.
        """
        items, scores = (torch.cat(parts).numpy() for parts in zip(*self.bare(), strict=True))
        keys = [(name, "ascending") for name in (tables.USER_IDX, tables.POSITION)]
        (rows,) = pq.read_table(self.drawn.out / TABLE).sort_by(keys).combine_chunks().to_batches()
        found = fixed_lists(rows, tables.CANDIDATES, np.int64)[:, : self.top_k]
        logits = fixed_lists(rows, tables.LOGITS, np.float32)[:, : self.top_k]
        close = logits.shape == scores.shape and np.abs(logits - scores).max() < _CLOSE * np.abs(scores).max()
        if not close or (found == items).mean() < _ALIKE:
            raise StageError("The stage's answers are not those of the loop.", "Correct one.")
