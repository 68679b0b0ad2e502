"""Other ways through the night: refit on every event, training on two processes, a log without an order."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from pyspark.sql import SparkSession
from safetensors.torch import load_file

from kdspark.models.storage import storage_of
from kdspark.stages.results import compare_night, latest_table
from kdspark.stages.runner import Runner
from kdspark.workspace import read_json
from tests.integration.nights import DATE, small_config, small_log
from tests.integration.test_night import night

pytestmark = pytest.mark.slow


def test_refit_repeats_the_epochs_found_and_scores_with_the_new_model(spark: SparkSession, tmp_path: Path) -> None:
    config = small_config(small_log(tmp_path, users=50), refit=True)
    runner = night(spark, tmp_path / "root", config)
    first = read_json(runner.output("train_student") / "model" / "training.json")
    second = read_json(runner.output("refit_student") / "model" / "training.json")
    assert len(second["curve"]) == first["best_epoch"]
    assert all("valid" not in epoch for epoch in second["curve"])
    rows = {name: runner.manifest(name).rows for name in ("prepare", "refit_teacher", "refit_labels", "refit_student")}
    assert rows["refit_teacher"] == {name: rows["prepare"][name] for name in ("users_full", "interactions")}
    assert rows["refit_student"] == rows["refit_labels"]
    assert runner.manifest("score").facts["model"] == "refit_student"
    version = read_json(runner.output("score") / "serving" / "model.json")["sha256"][:16]
    rows = pd.read_parquet(latest_table(str(tmp_path / "root")))
    assert set(rows["model_version"]) == {version}


def test_student_on_two_processes_with_every_loss_on_soft_labels(spark: SparkSession, tmp_path: Path) -> None:
    config = small_config(small_log(tmp_path, users=50))
    config["student"]["training"] = {**config["student"]["training"], "num_processes": 2}
    config["teacher"] = {"kind": "ease"}
    kinds = ["rd", "cd", "rrd", "unkd", "rce"]
    config["distill"] = {"lambda": 0, "losses": [{"kind": kind, "weight": 0.2} for kind in kinds]}
    runner = night(spark, tmp_path / "root", config)
    curve = read_json(runner.output("train_student") / "model" / "training.json")["curve"]
    assert curve[-1]["loss"] < curve[0]["loss"]
    assert set(kinds) < set(curve[0])
    plain = read_json(runner.output("train_plain") / "model" / "training.json")["curve"]
    assert not set(kinds) & set(plain[0])


@pytest.mark.parametrize("student", ["mf", "bag"])
def test_log_without_order_and_a_provided_split(spark: SparkSession, tmp_path: Path, student: str) -> None:
    log = pd.read_csv(small_log(tmp_path, users=60), sep="\t").rename(columns=lambda name: name.split(":")[0])
    pairs = log[["user_id", "item_id"]].sample(frac=1.0, random_state=3)
    cut = len(pairs) * 4 // 5
    pairs[:cut].to_parquet(tmp_path / "train.parquet")
    pairs[cut:].to_parquet(tmp_path / "test.parquet")
    config = small_config(tmp_path / "train.parquet")
    config["data"] = {
        "interactions": {"paths": str(tmp_path / "train.parquet")},
        "columns": {"user": "user_id", "item": "item_id"},
        "split": {"kind": "provided", "test": {"paths": str(tmp_path / "test.parquet")}},
        "features": {"history_length": 50},
        "examples": {"kind": "set", "history_length": 50, "max_targets": 50},
    }
    config["soft_labels"]["scoring_inputs"] = 0  # a "set" is made of them
    config["teacher"] = {"kind": "ease"}
    noise = {"input_dropout": 0.5} if student == "bag" else {}
    config["student"] = {"kind": student, "dim": 8, **noise, "training": config["student"]["training"]}
    night(spark, tmp_path / "root", config)
    models = {model["model"]: model for model in json.loads(compare_night(str(tmp_path / "root"), DATE, True))}
    assert models["teacher"]["metrics"]["ndcg@10"]["value"] > models["popularity"]["metrics"]["ndcg@10"]["value"]
    rows = pd.read_parquet(latest_table(str(tmp_path / "root")))
    assert rows["user_id"].dtype == "int64"


def test_json_temporal_split_and_a_pretrained_teacher(spark: SparkSession, tmp_path: Path) -> None:
    log = pd.read_csv(small_log(tmp_path, users=60), sep="\t").rename(columns=lambda name: name.split(":")[0])
    log.to_json(tmp_path / "log.json", orient="records", lines=True)
    with (tmp_path / "log.json").open("a") as file:
        file.write('{"user_id": 1, "item_id"\n{"user_id": null, "item_id": 5, "timestamp": 880000000}\n')
    config = small_config(tmp_path / "log.json")
    config["data"]["interactions"] = {"paths": str(tmp_path / "log.json"), "format": "json"}
    config["data"]["columns"] = {"user": "user_id", "item": "item_id", "timestamp": "timestamp", "weight": "rating"}
    config["data"]["split"] = {"kind": "temporal", "valid_days": 20, "test_days": 20}
    config["data"]["filters"] = {"min_weight": 3}
    config["teacher"] = {"kind": "ease"}
    denied = log["item_id"].value_counts().index[:3]  # what popularity would show everyone
    pd.DataFrame({"item": denied}).to_parquet(tmp_path / "denied.parquet")
    rules = {"lists": [{"kind": "deny", "paths": str(tmp_path / "denied.parquet"), "item": "item"}]}
    config["scoring"] = {**config["scoring"], "layout": "lists", "rows_per_file": 100, "rules": rules}
    first = night(spark, tmp_path / "root", config)
    quarantine = pd.read_parquet(first.output("prepare") / "quarantine").set_index("reason")["raw_row"]
    assert set(quarantine.index) == {"malformed row", "null or blank user id"}
    assert quarantine["malformed row"] == '{"user_id": 1, "item_id"'
    events = pd.read_parquet(first.output("prepare") / "interactions")
    ranges = events.groupby("split")["ts"].agg(["min", "max"])
    assert ranges.loc["train", "max"] < ranges.loc["valid", "min"]
    assert ranges.loc["valid", "max"] < ranges.loc["test", "min"]

    assert events["weight"].min() == 3
    lists = pd.read_parquet(latest_table(str(tmp_path / "root")))
    assert list(lists.columns) == ["run_date", "user_id", "items", "model_version"]
    assert len(lists) == first.manifest("score").rows["users"] == lists["user_id"].nunique()
    assert set(map(len, lists["items"])) == {config["scoring"]["k"]}
    items = lists["items"].explode().map(lambda item: item["item_id"]).rename("item_id")
    assert not set(items) & set(denied)
    assert lists[["user_id"]].join(items).merge(log, on=["user_id", "item_id"]).empty  # nor what was rated 1 or 2

    config["teacher"] = {"kind": "pretrained", "path": str(first.output("train_teacher") / "model")}
    training = config["student"]["training"]
    config["student"] = {"kind": "two_tower", "dim": 8, "hidden": 8, "history_length": 20, "training": training}
    later = night(spark, tmp_path / "root", config, "1998-04-24")
    digests = [read_json(run.output("train_teacher") / "model" / "model.json")["sha256"] for run in (first, later)]
    assert digests[0] == digests[1]
    described = read_json(later.output("train_student") / "model" / "model.json")["model"]
    assert described["config"]["user_features"]
    assert described["user_sizes"]["n_codes"] > 1


def test_recurrent_teacher_two_convolutional_students_in_int8_random_split_and_repeats(
    spark: SparkSession, tmp_path: Path
) -> None:
    log = pd.read_csv(small_log(tmp_path, users=60), sep="\t")
    again = log.sample(frac=0.2, random_state=1)
    again["timestamp:float"] += 3600  # users who come back to an item
    pd.concat([log, again]).to_csv(tmp_path / "events.tsv", sep="\t", index=False)
    config = small_config(tmp_path / "events.tsv")
    config["data"]["filters"] = {"repeats": "all", "k_core": True, "min_user_events": 25, "min_item_events": 4}
    config["data"]["split"] = {"kind": "random"}
    training = config["student"]["training"]
    config["teacher"] = {"kind": "lstm", "dim": 16, "history_length": 20, "training": training}
    config["student"] = {"kind": "cnn", "dim": 8, "history_length": 20, "training": training}
    config |= {"student_copies": 2, "student_storage": "int8"}
    config["scoring"] = {"k": 10, "exclude_seen": False}
    config["refit"] = True
    runner = night(spark, tmp_path / "root", config)
    events = pd.read_parquet(runner.output("prepare") / "interactions")
    assert events.groupby("user_idx").size().min() >= 25
    assert events.groupby("item_idx").size().min() >= 4
    assert events.duplicated(["user_idx", "item_idx"]).any()
    assert set(events["split"]) == {"train", "valid", "test"}
    kinds = [
        read_json(runner.output(name) / "model" / "model.json")["kind"] for name in ("train_teacher", "refit_student")
    ]
    assert kinds == ["lstm", "ensemble"]
    _check_copies(runner, str(tmp_path / "root"))
    lists = pd.read_parquet(latest_table(str(tmp_path / "root")))
    ids = pd.read_parquet(runner.output("prepare") / "item_ids").merge(events, on="item_idx")
    users = pd.read_parquet(runner.output("prepare") / "user_ids")
    seen = ids.merge(users, on="user_idx")[["user_id", "item_id"]].drop_duplicates()
    assert lists.groupby("user_id").size().eq(10).all()
    assert len(lists.merge(seen, on=["user_id", "item_id"])) > 0  # what a user has seen may come again


def _check_copies(runner: Runner, root: str) -> None:
    """Every student of the night is two, the refit repeats the epochs of each, and what is served is int8."""
    names = ("train_student", "train_plain", "refit_student")
    records = {name: read_json(runner.output(name) / "model" / "training.json") for name in names}
    assert [[member["kind"] for member in record["members"]] for record in records.values()] == [["cnn"] * 2] * 3
    found = [member["best_epoch"] for member in records["train_student"]["members"]]
    assert [len(member["curve"]) for member in records["refit_student"]["members"]] == found
    folders = [runner.output(name) / "model" for name in names] + [runner.output("score") / "serving"]
    assert [storage_of(folder) for folder in folders] == ["int8"] * 4
    assert load_file(folders[-1] / "model.safetensors")["items_ND"].dtype == torch.int8
    models = {model["model"]: model for model in json.loads(compare_night(root, DATE, True))}
    params = sum(member["params"] for member in records["train_student"]["members"])
    assert models["student"]["params"] == models["student_plain"]["params"] == params
    assert models["student"]["bytes"] == sum(file.stat().st_size for file in folders[0].glob("model.*")) < 4 * params
