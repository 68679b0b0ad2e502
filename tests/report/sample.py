"""A comparison as evaluate writes it, small but complete."""

import copy

MODELS = {  # title, params, bytes, encode s, score s, train s, ndcg@10
    "popularity": ("Popularity", 0, 13_000, 0.02, 0.21, 0, 0.0332),
    "als": ("Spark MLlib ALS", 83_872, 340_000, 0.04, 0.25, 9.4, 0.0541),
    "teacher": ("Teacher", 3_012_224, 12_100_000, 6.31, 1.92, 148, 0.0921),
    "student_plain": ("Student without distillation", 41_230, 168_000, 0.61, 0.24, 41, 0.0839),
    "student": ("Student, distilled", 41_230, 168_000, 0.62, 0.24, 55, 0.0911),
}


def spread(value, reach=0.008):
    return {"value": value, "low": max(value - reach, 0.0), "high": value + reach}


def metrics(ndcg):
    found = {}
    for k, part in ((5, 0.8), (10, 1.0), (20, 1.25)):
        values = {"ndcg": ndcg, "recall": 2.1 * ndcg, "hit_rate": 2.1 * ndcg, "mrr": 0.75 * ndcg, "map": 0.75 * ndcg}
        found.update({f"{name}@{k}": spread(value * part) for name, value in values.items()})
        found[f"coverage@{k}"] = spread(min(1.0, 6 * ndcg * part), 0.02)
        found[f"novelty@{k}"] = spread(9.1 + 10 * ndcg, 0.05)
        found[f"diversity@{k}"] = {"value": None, "low": None, "high": None} if ndcg < 0.04 else spread(0.71, 0.01)
    return found


def result(model, title, params, size, encode, score, train, ndcg):
    heads = [max(0.0, (place - 4) ** 3 / 125 * (0.14 - ndcg) * 5 + 0.03 * ndcg * 20) for place in range(10)]
    return {
        "model": model,
        "title": title,
        "params": params,
        "bytes": size,
        "encode_seconds": encode,
        "score_seconds": score,
        "train_seconds": train,
        "metrics": metrics(ndcg),
        "slices": {
            "activity": [
                {"label": label, "users": users, "metrics": {"ndcg@10": spread(ndcg * part, 0.015)}}
                for label, users, part in (("1-20", 51, 1.4), ("21-100", 512, 1.1), ("over 100", 380, 0.7))
            ],
            "popularity": [
                {"label": "head", "metrics": {"recall@10": spread(2.3 * ndcg), "ndcg@10": spread(1.2 * ndcg)}},
                {"label": "tail", "metrics": {"recall@10": spread(0.5 * ndcg), "ndcg@10": spread(0.3 * ndcg)}},
            ],
        },
        "exposure": [[(place + 1) / 10, share / sum(heads)] for place, share in enumerate(heads)],
    }


def curve(best, start, epochs, every):
    return [
        {
            "epoch": epoch,
            "loss": start * (0.62 + (0.3 + start / 90) * 0.8**epoch),
            "valid": best * (1 - 0.7**epoch) if epoch % every == 0 else None,
        }
        for epoch in range(1, epochs + 1)
    ]


COMPARISON = {
    "date": "1998-04-23",
    "run_id": "0f3a9c27",
    "dataset": {"name": "ml100k", "users": 943, "items": 1682, "train_events": 98_114, "test_users": 943},
    "models": [result(model, *rest) for model, rest in MODELS.items()],
    "paired": [
        {"a": "student", "b": b, "metric": metric, "difference": d, "low": d - 0.006, "high": d + 0.006, "p_value": p}
        for b, d, p in (("teacher", -0.001, 0.61), ("student_plain", 0.0072, 0.012), ("popularity", 0.0579, 0.0005))
        for metric in ("ndcg@10", "recall@10", "map@5")
    ],
    "curves": {
        "teacher: transformer 1": curve(0.091, 7.1, 30, 2),
        "teacher: transformer 2": curve(0.088, 7.4, 24, 2),
        "student_plain": curve(0.085, 6.9, 10, 1),
        "student": curve(0.092, 9.3, 10, 1),
    },
}


def comparison():
    """A fresh copy, to be changed by a test."""
    return copy.deepcopy(COMPARISON)
