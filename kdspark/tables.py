"""Every column name and table schema, once. Nothing else in the package spells a column name as a string.

Schemas are Spark DDL, so this module imports nothing. External ids keep the type they have in the logs;
`{user_id}` and `{item_id}` stand for that type in a schema and are filled in by `ddl`.

Conventions
    *_idx      int32, 0-based, dense, stable from night to night (the vocabulary grows, it is never renumbered)
    ts         int64; microseconds since 1970-01-01 UTC, or the log's own ordinal where it has no clock, or null
               where the log has no order at all
    history    item_idx, oldest first; fixed-length arrays are padded on the LEFT with PAD
    codes      one shared code space over all categorical and multi-valued columns of a side; 0 is padding,
               so that one embedding bag encodes them all
    numbers    scaled numeric columns, filled where missing, then one missing-flag per nullable column
    vector     all dense-vector columns, concatenated
"""

# Keys and ids
USER_IDX = "user_idx"
ITEM_IDX = "item_idx"
USER_ID = "user_id"
ITEM_ID = "item_id"

# interactions
TS = "ts"
WEIGHT = "weight"
SPLIT = "split"
TRAIN, VALID, TEST = SPLITS = "train", "valid", "test"

# users and items
N_EVENTS = "n_events"
FIRST_TS = "first_ts"
LAST_TS = "last_ts"
RECENCY_DAYS = "recency_days"
AGE_DAYS = "age_days"
POPULARITY = "popularity"
HISTORY = "history"
CODES = "codes"
NUMBERS = "numbers"
VECTOR = "vector"

# examples and soft labels
POSITION = "position"
TARGETS = "targets"
CANDIDATES = "candidates"
LOGITS = "logits"
TEACHER_ID = "teacher_id"
TEACHER_VECTOR = "teacher_vector"
PAD = -1

# recommendations
RUN_DATE = "run_date"
RANK = "rank"
SCORE = "score"
REASON = "reason"
MODEL_VERSION = "model_version"
REASON_MODEL, REASON_COLD_START = "model", "cold_start"
REASONS = (REASON_MODEL, REASON_COLD_START, "boosted", "over_cap", "backfill")
SEEN = "seen"
RULE, RULE_VALUE = "rule", "rule_value"  # of a user, see `spark.rule_users`

# evaluation
MODEL = "model"
ITEMS = "items"
SCORES = "scores"
TRUTH = "truth"
ACCURACY = ("recall", "precision", "f1", "ndcg", "hit_rate", "map", "mrr")  # columns are "<name>@<k>"

# quarantine
INPUT = "input"
SOURCE_FILE = "source_file"
RAW_ROW = "raw_row"

# feature dictionary
COLUMN = "column"
VALUE = "value"
CODE = "code"

SCHEMAS: dict[str, str] = {
    "user_ids": f"{USER_IDX} INT, {USER_ID} {{user_id}}",
    "item_ids": f"{ITEM_IDX} INT, {ITEM_ID} {{item_id}}",
    "interactions": f"{USER_IDX} INT, {ITEM_IDX} INT, {TS} BIGINT, {WEIGHT} FLOAT, {SPLIT} STRING",
    # Written where a filter can leave events out: all distinct pairs of the night, which no list may repeat.
    "seen": f"{USER_IDX} INT, {ITEM_IDX} INT",
    # One row per user_idx (item_idx) of the vocabulary, also for those without an event in this scope: their first_ts,
    # last_ts, recency_days and age_days are null. The days are null for all where the log has no clock.
    "users": (
        f"{USER_IDX} INT, {USER_ID} {{user_id}}, {N_EVENTS} INT, {FIRST_TS} BIGINT, {LAST_TS} BIGINT, "
        f"{RECENCY_DAYS} FLOAT, {HISTORY} ARRAY<INT>, {CODES} ARRAY<INT>, {NUMBERS} ARRAY<FLOAT>, "
        f"{VECTOR} ARRAY<FLOAT>"
    ),
    "items": (
        f"{ITEM_IDX} INT, {ITEM_ID} {{item_id}}, {N_EVENTS} INT, {FIRST_TS} BIGINT, {LAST_TS} BIGINT, "
        f"{RECENCY_DAYS} FLOAT, {AGE_DAYS} FLOAT, {POPULARITY} FLOAT, {CODES} ARRAY<INT>, "
        f"{NUMBERS} ARRAY<FLOAT>, {VECTOR} ARRAY<FLOAT>"
    ),
    # The dictionary behind `codes`, per side: (column, value) -> code >= 1.
    "feature_codes": f"{COLUMN} STRING, {VALUE} STRING, {CODE} INT",
    # Training positions: predict `targets` from what the user had done before. All arrays of fixed length.
    "examples": (
        f"{USER_IDX} INT, {POSITION} INT, {HISTORY} ARRAY<INT>, {TARGETS} ARRAY<INT>, {CODES} ARRAY<INT>, "
        f"{NUMBERS} ARRAY<FLOAT>, {VECTOR} ARRAY<FLOAT>"
    ),
    # An example with the teacher's answer: its top-K in order, then a sampled tail, K+S in all.
    "soft_labels": (
        f"{USER_IDX} INT, {POSITION} INT, {HISTORY} ARRAY<INT>, {TARGETS} ARRAY<INT>, {CODES} ARRAY<INT>, "
        f"{NUMBERS} ARRAY<FLOAT>, {VECTOR} ARRAY<FLOAT>, {CANDIDATES} ARRAY<INT>, {LOGITS} ARRAY<FLOAT>, "
        f"{TEACHER_ID} STRING"
    ),
    # The same where a loss reads the teacher's vectors: that of the row's user, whose inner products with the teacher's
    # item vectors are its logits; zeros where the teacher knows nothing of the user.
    "soft_labels_and_vectors": (
        f"{USER_IDX} INT, {POSITION} INT, {HISTORY} ARRAY<INT>, {TARGETS} ARRAY<INT>, {CODES} ARRAY<INT>, "
        f"{NUMBERS} ARRAY<FLOAT>, {VECTOR} ARRAY<FLOAT>, {CANDIDATES} ARRAY<INT>, {LOGITS} ARRAY<FLOAT>, "
        f"{TEACHER_ID} STRING, {TEACHER_VECTOR} ARRAY<FLOAT>"
    ),
    # What one model answers for evaluation: a list per user, best first, shorter than k where items run out.
    "ranked": f"{USER_IDX} INT, {ITEMS} ARRAY<INT>, {SCORES} ARRAY<FLOAT>, {REASON} STRING",
    "truth": f"{USER_IDX} INT, {TRUTH} ARRAY<INT>",
    "recommendations": (
        f"{RUN_DATE} DATE, {USER_ID} {{user_id}}, {RANK} INT, {ITEM_ID} {{item_id}}, {SCORE} FLOAT, "
        f"{REASON} STRING, {MODEL_VERSION} STRING"
    ),
    "recommendation_lists": (
        f"{RUN_DATE} DATE, {USER_ID} {{user_id}}, {ITEMS} ARRAY<STRUCT<{ITEM_ID}: {{item_id}},{SCORE}: FLOAT,"
        f"{REASON}: STRING>>, {MODEL_VERSION} STRING"
    ),
    # `input` is the key of the configuration that names the file: "interactions", "users", "items", "valid" or "test".
    "quarantine": f"{INPUT} STRING, {SOURCE_FILE} STRING, {REASON} STRING, {RAW_ROW} STRING",
}


def ddl(table: str, user_id: str = "STRING", item_id: str = "STRING") -> str:
    """Spark DDL of a table.

    Args:
        table: a key of `SCHEMAS`.
        user_id: Spark type of the external user id, such as "BIGINT".
        item_id: Spark type of the external item id.
    """
    return SCHEMAS[table].format(user_id=user_id, item_id=item_id)


def columns(table: str) -> list[str]:
    """Column names of a table, in order."""
    return [field.strip().split(" ")[0] for field in SCHEMAS[table].split(", ")]
