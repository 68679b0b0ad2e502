"""The benchmark of the top-k kernel on small shapes: what it says, not how long it takes."""

from types import ModuleType

import pytest


def test_ratios_are_those_of_the_rows(distill: ModuleType) -> None:
    import kernel  # found beside `distill`

    result = kernel.run(((300, 5000, 8), (64, 900, 4)), repeats=3, k=10)
    assert (result["bench"], len(result["ratios"])) == ("topk", 3)
    product = result["rows"][1]
    assert (product["method"], product["users"]) == ("product", 300)
    assert result["ratios"]["topk_cpu_vs_gemm"] == product["topk_cpu_vs_this"]
    for peer in ("faiss", "implicit"):
        ratios = [row["topk_wall_vs_this"] for row in result["rows"] if row["method"] == peer]
        assert result["ratios"][f"topk_wall_vs_{peer}"] == (max(ratios) if ratios else None)
    for row in result["rows"]:
        assert row["topk_wall_vs_this"] == pytest.approx(1) or row["method"] != "topk"
        assert row["method"] in kernel.text_table(result)
