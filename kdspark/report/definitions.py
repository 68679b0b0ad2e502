"""The metrics in plain words, for the report. The formulas are in `kdspark.ranking.metrics` and `.beyond`."""

TERMS: list[tuple[str, str]] = [
    ("@k", "Looks at the first k items of each user's list, ranked over the full catalogue without the items seen."),
    ("Recall", "Share of the user's test items that are in the list."),
    ("Precision", "Share of the k places that hold a test item; places left empty count as misses."),
    ("F1", "Harmonic mean of precision and recall."),
    ("Hit rate", "Share of users with at least one test item in the list."),
    ("NDCG", "Hits weighted by 1 / log2(rank + 1), as a share of the best possible list's."),
    ("MAP", "Precision at the rank of each hit, summed and divided by min(k, number of test items)."),
    ("MRR", "1 / rank of the first hit."),
    ("Coverage", "Share of the catalogue that is in at least one list."),
    ("Gini", "How unequally items are shown: 0 if all equally often, towards 1 if few items take all places."),
    (
        "Novelty",
        "Mean surprise of the listed items, -log2 of their share of training events (add-one smoothed), in bits.",
    ),
    ("Diversity", "1 - mean cosine similarity between the features of the items in a list."),
    ("Popularity", "Mean popularity percentile of the listed items; 1 is the most popular."),
    ("Head share", "Share of the list that is head items, the most popular part of the catalogue."),
    (
        "Intervals",
        "Means over users: percentiles of a Poisson bootstrap over users. Coverage and Gini: jackknife over groups of "
        "users. Differences use the same samples for both models; p is two-sided. Users who get no list score 0.",
    ),
]
