"""The top-k kernel against the matrix product alone, and against faiss and implicit, each by turns.

The product is that of the same tiles in float32, with nothing done to the scores: what a kernel would cost that selects
for free. Processor time counts there, wall time against peers; each ratio is the median over turns of the two times of
one turn. Vectors are drawn, since only the cost is measured; peers are given the same arrays.

Legend: B users, N items, D dims, K list length.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from surroundings import machine

from kdspark.ranking.topk import top_k

NAME = "topk"
SHAPES = ((50_000, 20_000, 64), (4_000, 200_000, 64), (2_000, 1_000_000, 32))
_K, _USERS, _ITEMS = 100, 256, 4096
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Turn:
    cpu: float
    wall: float


def run(shapes: tuple[tuple[int, int, int], ...] = SHAPES, repeats: int = 5, k: int = _K) -> dict[str, Any]:
    """Seconds per method and shape, and ratios over all shapes: the worst against each peer."""
    threads = torch.get_num_threads()
    generator, rows = np.random.default_rng(0), []
    for n_users, n_items, dims in shapes:
        users = generator.standard_normal((n_users, dims), np.float32)
        items = generator.standard_normal((n_items, dims), np.float32)
        methods = _methods(users, items, k, threads)
        turns: dict[str, list[_Turn]] = {name: [] for name in methods}
        for _ in range(repeats + 1):  # the first turn warms up
            for name, method in methods.items():
                turns[name].append(_timed(method))
        for name in methods:
            measured = turns[name][1:]
            against = list(zip(turns["topk"][1:], measured, strict=True))
            rows.append(
                {
                    "method": name,
                    "users": n_users,
                    "items": n_items,
                    "dims": dims,
                    "k": k,
                    "cpu_seconds": median(turn.cpu for turn in measured),
                    "wall_seconds": median(turn.wall for turn in measured),
                    "topk_cpu_vs_this": median(one.cpu / other.cpu for one, other in against),
                    "topk_wall_vs_this": median(one.wall / other.wall for one, other in against),
                }
            )
    return {"bench": NAME, "machine": machine(), "rows": rows, "ratios": _ratios(rows)}


def text_table(result: dict[str, Any]) -> str:
    """The result for a terminal."""
    lines = [f"{'method':10} {'users':>8} {'items':>10} {'dims':>5}  {'cpu s':>7}  {'wall s':>7}  topk's cpu, wall"]
    lines += [
        f"{row['method']:10} {row['users']:8,} {row['items']:10,} {row['dims']:5}  {row['cpu_seconds']:7.3f}  "
        f"{row['wall_seconds']:7.3f}  {row['topk_cpu_vs_this']:.2f}x, {row['topk_wall_vs_this']:.2f}x"
        for row in result["rows"]
    ]
    ratios = [
        f"{name} {'not installed' if value is None else f'{value:.3f}'}" for name, value in result["ratios"].items()
    ]
    return "\n".join([*lines, *ratios, result["machine"]])


def _ratios(rows: list[dict[str, Any]]) -> dict[str, float | None]:
    def worst(peer: str) -> float | None:
        return max((row["topk_wall_vs_this"] for row in rows if row["method"] == peer), default=None)

    product = next(row for row in rows if row["method"] == "product")  # of the first shape
    return {
        "topk_cpu_vs_gemm": product["topk_cpu_vs_this"],
        "topk_wall_vs_implicit": worst("implicit"),
        "topk_wall_vs_faiss": worst("faiss"),
    }


def _methods(users: Floats, items: Floats, k: int, threads: int) -> dict[str, Callable[[], object]]:
    """Those that are installed; the extra `bench` has the peers."""
    methods: dict[str, Callable[[], object]] = {
        "topk": lambda: top_k(users, items, k, threads=threads),
        "product": lambda: _product(torch.from_numpy(users), torch.from_numpy(items)),
    }
    try:
        import faiss

        faiss.omp_set_num_threads(threads)
        index = faiss.IndexFlatIP(items.shape[1])
        index.add(items)
        methods["faiss"] = lambda: index.search(users, k)
    except ImportError:
        pass
    try:
        from implicit.cpu.topk import topk as implicit_topk
        from threadpoolctl import threadpool_limits  # implicit has it

        def implicit() -> object:
            with threadpool_limits(1, "blas"):  # its threads are its own; those of BLAS get in their way
                return implicit_topk(items, users, k, num_threads=threads)

        methods["implicit"] = implicit
    except ImportError:
        pass
    return methods


def _product(users: torch.Tensor, items: torch.Tensor) -> None:
    scores = torch.empty(_USERS * _ITEMS)
    for first in range(0, len(users), _USERS):
        for start in range(0, len(items), _ITEMS):
            some, others = users[first : first + _USERS], items[start : start + _ITEMS]
            torch.mm(some, others.T, out=scores[: len(some) * len(others)].view(len(some), len(others)))


def _timed(method: Callable[[], object]) -> _Turn:
    cpu, wall = process_time(), perf_counter()
    method()
    return _Turn(process_time() - cpu, perf_counter() - wall)
