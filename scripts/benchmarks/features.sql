-- The tables of `kdspark prepare` for a log of scripts/make_logs, as one would write them in DuckDB: the peer of
-- `scripts/bench features`. Statements are separated by a line of dashes; $LOGS, $OUT and $END_US stand for the folder
-- of the logs, where to write, and the night's end in microseconds.

-- Rows judged as kdspark judges them; those after the night's end are left out.
CREATE TEMP TABLE judged AS
SELECT user_id, item_id, ts * 1000000 AS ts, weight::FLOAT AS weight,
    CASE
        WHEN user_id IS NULL THEN 'null user id'
        WHEN item_id IS NULL THEN 'null item id'
        WHEN ts IS NULL THEN 'null timestamp'
        WHEN ts < 0 OR ts >= 253402300800 THEN 'timestamp out of range'
        WHEN weight IS NULL OR NOT isfinite(weight) THEN 'null or non-finite weight'
        WHEN ts * 1000000 >= $END_US THEN 'after the night''s end'
    END AS reason,
    CASE WHEN reason IS NOT NULL THEN filename END AS source_file,
    CASE WHEN reason IS NOT NULL THEN to_json({user_id: user_id, item_id: item_id, ts: ts, weight: weight}) END AS raw_row
FROM read_parquet('$LOGS/interactions/*/*.parquet', filename = true, hive_partitioning = false);
----
COPY (SELECT source_file, reason, raw_row FROM judged WHERE reason IS NOT NULL AND reason != 'after the night''s end')
TO '$OUT/quarantine.parquet' (COMPRESSION zstd);
----
CREATE TEMP TABLE user_ids AS
SELECT (row_number() OVER (ORDER BY user_id) - 1)::INTEGER AS user_idx, user_id
FROM (SELECT user_id FROM judged WHERE reason IS NULL
    UNION SELECT user_id FROM read_parquet('$LOGS/users/*.parquet'));
----
CREATE TEMP TABLE item_ids AS
SELECT (row_number() OVER (ORDER BY item_id) - 1)::INTEGER AS item_idx, item_id
FROM (SELECT item_id FROM judged WHERE reason IS NULL
    UNION SELECT item_id FROM read_parquet('$LOGS/items/*.parquet'));
----
COPY user_ids TO '$OUT/user_ids.parquet' (COMPRESSION zstd);
----
COPY item_ids TO '$OUT/item_ids.parquet' (COMPRESSION zstd);
----
-- Of a user's repeats on an item the first, with the largest weight of that time; split by time; whole users, latest
-- events first, ties by a hash.
CREATE TEMP TABLE interactions AS
SELECT user_idx, item_idx, first.ts AS ts, (-first.weight)::FLOAT AS weight,
    CASE
        WHEN first.ts >= $END_US - 7 * 86400000000 THEN 'test'
        WHEN first.ts >= $END_US - 14 * 86400000000 THEN 'valid'
        ELSE 'train'
    END AS split
FROM (
    SELECT user_idx, item_idx, min({ts: ts, weight: -weight}) AS first
    FROM judged JOIN user_ids USING (user_id) JOIN item_ids USING (item_id)
    WHERE reason IS NULL GROUP BY user_idx, item_idx
)
ORDER BY user_idx, ts DESC, hash(user_idx, item_idx), item_idx;
----
COPY interactions TO '$OUT/interactions.parquet' (COMPRESSION zstd);
----
DROP TABLE judged;
----
CREATE TEMP TABLE users_side AS
SELECT user_idx, trim(country) AS country, age
FROM read_parquet('$LOGS/users/*.parquet') JOIN user_ids USING (user_id);
----
CREATE TEMP TABLE items_side AS
SELECT item_idx, trim(category) AS category, tags, price, vector
FROM read_parquet('$LOGS/items/*.parquet') JOIN item_ids USING (item_id);
----
CREATE TEMP TABLE user_codes AS
SELECT "column", value, row_number() OVER (ORDER BY "column", value)::INTEGER AS code
FROM (SELECT 'country' AS "column", country AS value FROM users_side
    WHERE country != '' AND user_idx IN (SELECT user_idx FROM interactions WHERE split = 'train')
    UNION SELECT 'country', '');
----
CREATE TEMP TABLE item_values AS
SELECT item_idx, 'category' AS "column", category AS value FROM items_side WHERE category != ''
UNION
SELECT item_idx, 'tags', trim(unnest(string_split(tags, '|'))) FROM items_side;
----
CREATE TEMP TABLE item_codes AS
SELECT "column", value, row_number() OVER (ORDER BY "column", value)::INTEGER AS code
FROM (SELECT "column", value FROM item_values
    WHERE value != '' AND item_idx IN (SELECT item_idx FROM interactions WHERE split = 'train')
    UNION SELECT unnest(['category', 'tags']), '');
----
COPY user_codes TO '$OUT/user_codes.parquet' (COMPRESSION zstd);
----
COPY item_codes TO '$OUT/item_codes.parquet' (COMPRESSION zstd);
----
-- Codes of fixed length, numbers scaled by what is known of the trained, and a flag where there is none.
CREATE TEMP TABLE users_static AS
WITH scale AS (
    SELECT avg(age) AS mean, stddev_pop(age) AS deviation FROM users_side
    WHERE user_idx IN (SELECT user_idx FROM interactions WHERE split = 'train')
)
SELECT i.user_idx, i.user_id,
    [CASE WHEN s.user_idx IS NULL THEN 0
        ELSE coalesce(c.code, (SELECT code FROM user_codes WHERE value = '')) END]::INTEGER[] AS codes,
    [coalesce((age - scale.mean) / scale.deviation, 0), CASE WHEN age IS NULL THEN 1 ELSE 0 END]::FLOAT[] AS numbers,
    []::FLOAT[] AS vector
FROM user_ids i LEFT JOIN users_side s USING (user_idx)
    LEFT JOIN user_codes c ON c.value = s.country AND s.country != '' CROSS JOIN scale;
----
CREATE TEMP TABLE items_static AS
WITH scale AS (
    SELECT avg(price) AS mean, stddev_pop(price) AS deviation FROM items_side
    WHERE item_idx IN (SELECT item_idx FROM interactions WHERE split = 'train')
), unknown AS (
    SELECT max(code) FILTER ("column" = 'category') AS category, max(code) FILTER ("column" = 'tags') AS tags
    FROM item_codes WHERE value = ''
), found AS (
    SELECT item_idx, list(code ORDER BY code) FILTER ("column" = 'category') AS category,
        list(code ORDER BY code) FILTER ("column" = 'tags') AS tags
    FROM item_values JOIN item_codes USING ("column", value) WHERE value != '' GROUP BY item_idx
)
SELECT i.item_idx, i.item_id,
    CASE WHEN s.item_idx IS NULL THEN list_resize([]::INTEGER[], 9, 0)
        ELSE list_concat(coalesce(f.category, [unknown.category]),
            list_resize(coalesce(f.tags, [unknown.tags])[:8], 8, 0)) END AS codes,
    [coalesce((price - scale.mean) / scale.deviation, 0), CASE WHEN price IS NULL THEN 1 ELSE 0 END]::FLOAT[] AS numbers,
    coalesce(vector, list_resize([]::FLOAT[], 8, 0)) AS vector
FROM item_ids i LEFT JOIN items_side s USING (item_idx) LEFT JOIN found f USING (item_idx)
    CROSS JOIN scale CROSS JOIN unknown;
----
CREATE TEMP TABLE scale AS
SELECT avg(ln(1 + n)) AS mean, stddev_pop(ln(1 + n)) AS deviation, avg(age) AS mean_age, stddev_pop(age) AS deviation_age
FROM (SELECT count(*) AS n, ($END_US - min(ts)) / 86400000000 AS age FROM interactions WHERE split = 'train'
    GROUP BY item_idx);
----
CREATE TEMP TABLE sequences AS
SELECT user_idx, count(*)::INTEGER AS n_events, min(ts) AS first_ts, max(ts) AS last_ts,
    list(item_idx ORDER BY ts, hash(user_idx, item_idx) DESC, item_idx DESC) AS items
FROM interactions WHERE split = 'train' GROUP BY user_idx;
----
-- Of whatever scope the sequences are.
CREATE TEMP VIEW users_of_scope AS
SELECT user_idx, user_id, coalesce(n_events, 0) AS n_events, first_ts, last_ts,
    (($END_US - last_ts) / 86400000000)::FLOAT AS recency_days,
    list_concat(list_resize([]::INTEGER[], 100 - coalesce(len(items[-100:]), 0), -1), items[-100:]) AS history,
    codes, numbers, vector
FROM users_static LEFT JOIN sequences USING (user_idx);
----
COPY (FROM users_of_scope ORDER BY user_idx) TO '$OUT/users_train.parquet' (COMPRESSION zstd);
----
COPY (
    SELECT user_idx, position, list_concat(list_resize([]::INTEGER[], 50 - len(before), -1), before) AS history,
        [items[position + 1]] AS targets, codes, numbers, vector
    FROM (
        SELECT user_idx, position, items, items[greatest(1, position - 49):position] AS before
        FROM (SELECT user_idx, items, unnest(range(greatest(1, n_events - 100), n_events))::INTEGER AS position FROM sequences)
    ) JOIN users_static USING (user_idx)
    ORDER BY user_idx, position
) TO '$OUT/examples_train.parquet' (COMPRESSION zstd);
----
CREATE OR REPLACE TEMP TABLE sequences AS
SELECT user_idx, count(*)::INTEGER AS n_events, min(ts) AS first_ts, max(ts) AS last_ts,
    list(item_idx ORDER BY ts, hash(user_idx, item_idx) DESC, item_idx DESC) AS items
FROM interactions GROUP BY user_idx;
----
COPY (FROM users_of_scope ORDER BY user_idx) TO '$OUT/users_full.parquet' (COMPRESSION zstd);
----
COPY (
    SELECT item_idx, item_id, coalesce(n, 0) AS n_events, first_ts, last_ts,
        (($END_US - last_ts) / 86400000000)::FLOAT AS recency_days, (($END_US - first_ts) / 86400000000)::FLOAT AS age_days,
        (coalesce(n, 0) / (SELECT count(*) FROM interactions WHERE split = 'train'))::FLOAT AS popularity, codes,
        list_concat(numbers, [(ln(1 + coalesce(n, 0)) - mean) / deviation,
            coalesce((($END_US - first_ts) / 86400000000 - mean_age) / deviation_age, 0)]::FLOAT[]) AS numbers, vector
    FROM items_static LEFT JOIN (
        SELECT item_idx, count(*)::INTEGER AS n, min(ts) AS first_ts, max(ts) AS last_ts FROM interactions
        WHERE split = 'train' GROUP BY item_idx
    ) USING (item_idx) CROSS JOIN scale
) TO '$OUT/items_train.parquet' (COMPRESSION zstd);
----
COPY (
    SELECT item_idx, item_id, coalesce(n, 0) AS n_events, first_ts, last_ts,
        (($END_US - last_ts) / 86400000000)::FLOAT AS recency_days, (($END_US - first_ts) / 86400000000)::FLOAT AS age_days,
        (coalesce(n, 0) / (SELECT count(*) FROM interactions))::FLOAT AS popularity, codes,
        list_concat(numbers, [(ln(1 + coalesce(n, 0)) - mean) / deviation,
            coalesce((($END_US - first_ts) / 86400000000 - mean_age) / deviation_age, 0)]::FLOAT[]) AS numbers, vector
    FROM items_static LEFT JOIN (
        SELECT item_idx, count(*)::INTEGER AS n, min(ts) AS first_ts, max(ts) AS last_ts FROM interactions
        GROUP BY item_idx
    ) USING (item_idx) CROSS JOIN scale
) TO '$OUT/items_full.parquet' (COMPRESSION zstd);
