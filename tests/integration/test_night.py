"""Whole nights on a small real log: every stage, reuse, publishing, and what happens to bad input."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from kdspark.cli import main
from kdspark.config import parse_config
from kdspark.errors import KdsparkError
from kdspark.stages.pipeline import run_night
from kdspark.stages.results import compare_night, latest_table
from kdspark.stages.runner import Runner
from kdspark.stages.stage import Night
from kdspark.workspace import Workspace, parse_date, read_json
from tests.integration.nights import DATE, ML100K, small_config, small_log, write_config

pytestmark = pytest.mark.slow


def night(spark: SparkSession, root: Path, config: dict, date: str = DATE) -> Runner:
    """Run a whole night in this process, on the tests' session."""
    return run_night(Night(parse_config(config), parse_date(date), Workspace(root), lambda: spark))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("night")


@pytest.fixture(scope="module")
def config(folder: Path) -> dict:
    return small_config(small_log(folder))


@pytest.fixture(scope="module")
def runner(spark: SparkSession, folder: Path, config: dict) -> Runner:
    return night(spark, folder / "root", config)


@pytest.fixture(scope="module")
def published(runner: Runner) -> Path:
    """What this night published, whatever other tests have published since."""
    return Path(runner.manifest("publish").facts["path"])


def test_published_table_keeps_the_contract(spark: SparkSession, published: Path) -> None:
    rows = spark.read.parquet(str(published)).toPandas()
    assert list(rows.columns) == ["run_date", "user_id", "rank", "item_id", "score", "reason", "model_version"]
    users = pd.read_csv(ML100K / "ml-100k.user", sep="\t", dtype=str)["user_id:token"]
    assert set(rows["user_id"]) == set(users)  # also those without an event, from the user table
    assert (rows.groupby("user_id")["rank"].apply(list).map(lambda ranks: sorted(ranks) == list(range(1, 11)))).all()
    assert not rows.duplicated(["user_id", "item_id"]).any()
    assert set(rows["run_date"].astype(str)) == {DATE}
    assert np.isfinite(rows["score"]).all()
    assert (rows.sort_values(["user_id", "rank"]).groupby("user_id")["score"].diff().dropna() <= 0).all()


def test_seen_items_are_left_out_and_strangers_get_popular_ones(
    spark: SparkSession, runner: Runner, published: Path
) -> None:
    rows = spark.read.parquet(str(published)).toPandas()
    log = pd.read_csv(runner.night.config.data.interactions.paths[0], sep="\t", dtype=str)
    seen = set(zip(log["user_id:token"], log["item_id:token"], strict=True))
    assert not seen & set(zip(rows["user_id"], rows["item_id"], strict=True))
    known = rows["user_id"].isin(set(log["user_id:token"]))
    assert set(rows[known]["reason"]) == {"model"}
    assert set(rows[~known]["reason"]) == {"cold_start"}
    assert len({tuple(items) for _, items in rows[~known].sort_values("rank").groupby("user_id")["item_id"]}) == 1


def test_comparison_and_report(runner: Runner) -> None:
    root = str(runner.night.workspace.root)
    models = json.loads(compare_night(root, DATE, json_output=True))
    assert [model["model"] for model in models] == ["popularity", "als", "teacher", "student_plain", "student"]
    for model in models:
        assert {"model", "params", "bytes", "score_seconds", "metrics"} <= set(model)
        found = model["metrics"]["ndcg@10"]
        assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1
    folder = runner.night.workspace.newest_run(parse_date(DATE))
    html = (folder / "report.html").read_text()
    assert "<svg" in html
    assert "http://" not in html.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    assert "student" in compare_night(root, DATE, json_output=False)
    for path in read_json(folder / "run.json")["stages"].values():
        assert (runner.night.workspace.root / path / "manifest.json").exists()


def test_second_run_builds_nothing(
    spark: SparkSession, runner: Runner, config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    describe = Runner._describe
    monkeypatch.setattr(Runner, "_describe", lambda *args: built.append(args[1].name) or describe(*args))
    again = night(spark, runner.night.workspace.root, config)
    assert built == ["publish"]  # it only points again at what it published before
    assert [again.key(name) for name in again.stages] == [runner.key(name) for name in runner.stages]


def test_soft_labels_keep_their_contract(spark: SparkSession, runner: Runner) -> None:
    labels = spark.read.parquet(str(runner.output("soft_labels") / "soft_labels"))
    examples = spark.read.parquet(str(runner.output("prepare") / "examples_train"))
    users = spark.read.parquet(str(runner.output("prepare") / "users_train")).filter("n_events > 0")
    assert labels.count() == examples.count() + 2 * users.count()
    assert labels.select("user_idx", "position").distinct().count() == labels.count()
    inputs = labels.filter(F.array_max("targets") == -1)
    assert inputs.groupBy("user_idx").count().agg({"count": "min"}).first()[0] == 2
    histories = users.select("user_idx", F.slice("history", -20, 20).alias("whole"))
    assert inputs.join(histories, "user_idx").filter("history = whole").count() == 2 * users.count()
    assert labels.filter((F.size("candidates") != 20) | (F.size("logits") != 20)).count() == 0
    present = F.filter("candidates", lambda item: item >= 0)
    assert labels.filter(F.size(F.array_distinct(present)) != F.size(present)).count() == 0
    assert labels.filter(F.size(F.array_intersect(present, "history")) > 0).count() == 0
    top = F.slice("logits", 1, 10)
    assert labels.filter(F.reverse(F.array_sort(top)) != top).count() == 0


def test_training_stages_count_the_rows_they_learned_from(runner: Runner) -> None:
    prepared, labels = runner.manifest("prepare"), runner.manifest("soft_labels")
    events = {"interactions": prepared.facts["splits"]["train"]}
    assert runner.manifest("baselines").rows == events
    assert runner.manifest("train_teacher").rows == {"users_train": prepared.rows["users_train"], **events}
    assert runner.manifest("train_plain").rows == {"examples_train": prepared.rows["examples_train"]}
    assert runner.manifest("train_student").rows == {"soft_labels": labels.rows["soft_labels"]}


def test_next_night_keeps_ids_and_points_on(spark: SparkSession, runner: Runner, config: dict, published: Path) -> None:
    later = night(spark, runner.night.workspace.root, config, "1998-04-24")
    before, after = (run.output("prepare") for run in (runner, later))
    for table, idx in (("user_ids", "user_idx"), ("item_ids", "item_idx")):
        old = spark.read.parquet(str(before / table)).toPandas().set_index(idx)
        new = spark.read.parquet(str(after / table)).toPandas().set_index(idx)
        assert old.sort_index().equals(new.sort_index().loc[old.index.sort_values()])
    assert "1998-04-23" in str(published)
    assert "1998-04-24" in str(latest_table(str(runner.night.workspace.root)))


# What is set, words of the one line on stderr (file, column, what is wrong, remedy), and the exit code.
BAD_INPUT: dict[str, tuple[dict[str, str], list[str], int]] = {
    "missing column": (
        {"data.columns.item": "itemid"},
        ["events.tsv: no column 'itemid' (`data.columns.item`)", "'item_id:token'", "Correct the column names"],
        3,
    ),
    "wrong type": (
        {"data.columns.timestamp": "item_id:token", "data.columns.timestamp_unit": "timestamp"},
        ["events.tsv: ", " rows are bad", "timestamp 'item_id:token'", "Correct the export, the columns, `timestamp_u"],
        3,
    ),
    "type of a column": (
        {"data.interactions": "{{paths: {tmp}/lists.parquet}}", "data.columns.timestamp": "when"},
        [
            "lists.parquet: column 'when' (`data.columns.timestamp`) is array<bigint>",
            "needs a number",
            "cast the column",
        ],
        3,
    ),
    "two types": (
        {"data.interactions": "{{paths: ['{tmp}/lists.parquet', '{tmp}/numbers.parquet']}}"},
        [
            "numbers.parquet: column 'when' is bigint, but array<bigint> in",
            "lists.parquet",
            "Export the column with one t",
        ],
        3,
    ),
    "no numbers": (
        {"data.items.numeric": "['movie_title:token_seq']"},
        ["ml-100k.item: ", "of column 'movie_title:token_seq' (`numeric`) are no", "make the column `categorical`"],
        3,
    ),
    "missing file": (
        {"data.interactions.paths": "nowhere/*.tsv"},
        ["nowhere/*.tsv: no such file", "Check the path or glob under `paths`"],
        3,
    ),
    "unreadable file": (
        {"data.interactions": "{{paths: {tmp}/half.parquet}}"},
        ["half.parquet: not readable as Parquet (it is not a Parquet file", "Export the file again"],
        3,
    ),
    "empty log": (
        {"data.interactions.paths": "{tmp}/empty.tsv"},
        ["empty.tsv: the log is empty", "Check `paths` and --date"],
        3,
    ),
    "too early": (
        {"--date": "1990-01-01"},
        ["events.tsv: the log is empty", "night's end", "Check `paths` and --date"],
        3,
    ),
    "no date": ({"--date": "1998-02-30"}, ["--date '1998-02-30' is not a date", "Write it as YYYY-MM-DD"], 2),
    "last date": ({"--date": "9999-12-31"}, ["--date 9999-12-31 is not between", "Give the night's own date"], 2),
    "unknown key": ({"scoring.kk": "3"}, ["bad.yaml: `scoring.kk`: unknown key", "Correct the key"], 2),
    "idle key": (
        {"distill.standardise": "true"},
        ["bad.yaml: `distill`: `standardise` would do nothing with `targets: rank`", "remove it", "Correct the key"],
        2,
    ),
    "long list": ({"scoring.k": "100000"}, ["`scoring.k`: 100000", "catalogue of", "Ask for shorter lists"], 2),
}


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Logs that cannot be used."""
    folder = tmp_path_factory.mktemp("bad")
    log = {"user_id:token": ["1"], "item_id:token": ["2"]}
    pd.DataFrame({**log, "when": [[3]]}).to_parquet(folder / "lists.parquet")
    pd.DataFrame({**log, "when": [3]}).to_parquet(folder / "numbers.parquet")
    whole = (folder / "numbers.parquet").read_bytes()
    (folder / "half.parquet").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.tsv").write_text("user_id:token\titem_id:token\trating:float\ttimestamp:float\n")
    return folder


def digests(root: Path) -> dict[str, str]:
    """sha256 of the pointer and of every file that is published."""
    files = [root / "latest.json", *(path for path in (root / "published").rglob("*") if path.is_file())]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("case", sorted(BAD_INPUT))
def test_bad_input_is_one_clear_line(
    case: str,
    spark: SparkSession,
    runner: Runner,
    config: dict,
    bad_files: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    changes, words, code = BAD_INPUT[case]
    root = runner.night.workspace.root
    before = digests(root)
    assert len(before) > 2
    path = write_config(tmp_path / "bad.yaml", config)
    settings = {key: value.format(tmp=bad_files) for key, value in changes.items()}
    arguments = ["--force", "--date", settings.pop("--date", DATE)]  # the date is published
    arguments += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    with pytest.raises(SystemExit) as stopped:
        main(["run", "--config", str(path), "--root", str(root), *arguments])
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("kdspark: error:")]
    assert stopped.value.code == code
    assert len(errors) == 1
    for word in words:
        assert word in errors[0]
    assert digests(root) == before


def test_another_k_is_published_and_an_earlier_run_can_come_back(
    spark: SparkSession, runner: Runner, config: dict
) -> None:
    root = runner.night.workspace.root

    def longest() -> int:
        return int(spark.read.parquet(str(latest_table(str(root)))).agg(F.max("rank")).first()[0])

    night(spark, root, {**config, "scoring": {"k": 4}}, "1998-04-24")
    assert longest() == 4
    night(spark, root, config, "1998-04-24")
    assert longest() == 10


def test_gate_blocks_a_bad_night(spark: SparkSession, runner: Runner, config: dict) -> None:
    root = runner.night.workspace.root
    before = digests(root)
    with pytest.raises(KdsparkError, match="blocked"):
        night(spark, root, {**config, "gate": {"min_ratio_to_popularity": 1000.0}})
    assert digests(root) == before
