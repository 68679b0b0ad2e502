"""Configuration files: strict keys, dotted overrides, one clear error."""

import copy
from pathlib import Path

import pytest
import yaml

from kdspark.config import Config, EnsembleConfig, load_config, parse_config
from kdspark.errors import ConfigError

MINIMAL = {
    "data": {
        "interactions": {"paths": "log.csv", "format": "csv"},
        "columns": {"user": "u", "item": "i", "timestamp": "t"},
    },
    "teacher": {"kind": "ensemble", "members": [{"kind": "ease"}, {"kind": "transformer"}]},
    "student": {"kind": "gru"},
}


def minimal() -> dict:
    return yaml.safe_load(yaml.safe_dump(MINIMAL))


def test_minimal_configuration_gets_defaults() -> None:
    config = parse_config(minimal())
    assert config.data.interactions.paths == ["log.csv"]
    assert isinstance(config.teacher, EnsembleConfig)
    assert config.distill.lambda_ == 1.0


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("colour", "red", "`colour`: unknown key"),
        ("student.units", 3, "`student.gru.units`: unknown key"),
        ("scoring.k", 0, "`scoring.k`"),
        ("scoring.k", "many", "`scoring.k`"),
        ("distill.temperature", -1, "`distill.temperature`"),
        ("student.kind", "oracle", "`student`"),
        ("student.kind", "ensemble", "for several of it that answer together set `student_copies`"),
        ("student_copies", 0, "`student_copies`"),
        ("student_storage", "int4", "`student_storage`: Input should be 'float32' or 'int8'"),
        ("data.split.kind", "provided", "`data.split`"),
        ("data.interactions.encoding", "latin1", "`data.interactions.encoding`: Input should be 'UTF-8' or 'ISO-8859"),
        ("data.columns.timestamp", "null", "leave_one_out split needs"),
        ("distill", "{lambda: 0, hard_weight: 0}", "nothing to learn"),
        ("evaluation.ks", "[5, 20]", "`gate.metric`: 'ndcg@10'"),
        ("evaluation.ks", "[10, 5]", "ascending"),
        ("evaluation.ks", "[0, 10]", "`evaluation.ks.0`"),
        ("teacher.weights", "[1.0]", "1 `weights` for 2 `members`"),
        ("evaluation.activity_bounds", "[0, 20]", "`evaluation.activity_bounds.0`"),
        ("data.interactions", "{paths: x, delimiter: ';'}", "`delimiter` would do nothing with `format: parquet`"),
        (
            "data.interactions",
            "{paths: x, format: json, header: false}",
            "`header` would do nothing with `format: json`",
        ),
        ("data.users", "{paths: x, id: u, encoding: ISO-8859-1}", "`encoding` would do nothing with `format: parquet`"),
        (
            "teacher",
            "{kind: lightgcn, loss: bpr, training: {negatives: 5}}",
            "`negatives` would do nothing with `loss: bpr`",
        ),
        (
            "teacher",
            "{kind: lightgcn, training: {num_processes: 2, label_smoothing: 0.1}}",
            "`label_smoothing` and `num_processes` would do nothing in lightgcn",
        ),
        ("teacher.mixture", "{l2: 1}", "`mixture` would do nothing with `combine: fixed`"),
        (
            "student.training",
            "{negatives: 64, label_smoothing: 0.1}",
            "`label_smoothing` would do nothing with `negatives`",
        ),
        (
            "student.training.consistency",
            "{measure: vectors, items: 9}",
            "`items` would do nothing with `measure: vectors`",
        ),
        ("student.training.consistency", "{pool: 9}", "`pool` would do nothing with `substitute: 0`"),
        ("teacher.combine", "agreement", "`combine: agreement` needs three `members`"),
        (
            "teacher",
            "{kind: ensemble, members: [{kind: ease}, {kind: gfcf}, {kind: als}], weights: [2, 1, -1], "
            "combine: agreement}",
            "`combine: agreement` asks what members like",
        ),
        ("data.split.valid", "{paths: x}", "`valid` would do nothing with `kind: leave_one_out`"),
        (
            "data.split",
            "{kind: temporal, n_test: 2, n_valid: 3}",
            "`n_test` and `n_valid` would do nothing with `kind: t",
        ),
        (
            "data.split",
            "{kind: provided, valid: {paths: x}, test: {paths: y}, valid_fraction: 0.2}",
            "`valid_fraction` would do nothing with `valid` given",
        ),
        ("data.filters.k_core", "true", "`k_core` would do nothing"),
        ("data.filters.min_weight", "3", "`filters.min_weight` needs `data.columns.weight`"),
        (
            "data",
            "{interactions: {paths: x}, columns: {user: u, item: i, timestamp_unit: ms}, split: {kind: random}}",
            "`timestamp_unit` would do nothing without a `timestamp`",
        ),
        ("data.examples", "{kind: set, max_positions: 9}", "`max_positions` would do nothing with `kind: set`"),
        ("distill.standardise", "true", "`standardise` would do nothing with `targets: rank`; remove it"),
        ("distill", "{targets: score, rank_decay: 3}", "`rank_decay` would do nothing with `targets: score`"),
        ("student.user_features", "true", "`student`: `user_features` of a gru needs feature columns in `data.users`"),
        (
            "teacher.members.1.user_features",
            "true",
            "`teacher`: `user_features` of a transformer needs feature columns",
        ),
        ("teacher.weights", "[0, 0]", "`weights` sum to 0"),
        ("teacher.weights", "[1, -2]", "`weights` sum to -1; their sum must be positive"),
        ("teacher.members.1.heads", "3", "does not divide"),
        ("teacher.members.1.history_length", "101", "history_length 101 is longer than the 100"),
        ("student.history_length", "51", "`student.history_length` 51"),
        ("student", "{kind: mf, training: {consistency: {}}}", "which mf does not read"),
        ("student.training.consistency", "{crop: 1, mask: 0, reorder: 0}", "both views would be the history"),
        ("student.training.consistency", "{measure: guess}", "`student.gru.training.consistency.measure`"),
        ("student.item_ids", "false", "items would have no vectors"),
        ("baselines", "[{kind: als}, {kind: als}]", "one kind twice"),
        (
            "data",
            "{interactions: {paths: x}, columns: {user: u, item: i}, split: {kind: random}, examples: {kind: set}}",
            "reads an order",
        ),
    ],
)
def test_mistakes_are_named(key: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(minimal(), [f"{key}={value}"], source="night.yaml")
    assert message in str(caught.value)
    assert "night.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_remedy_names_what_there_is() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(minimal(), ["colour=red"])
    named = [word.strip(",.") for word in caught.value.remedy.split() if "/" in word]
    assert len(named) == 2
    assert all((Path(__file__).parents[2] / name).exists() for name in named)


@pytest.mark.parametrize(
    "overrides",
    [
        ["student={kind: two_tower}"],  # user features by default, of which there are none
        ["student.item_features=true"],  # how often and how long ago an item was met: no item table needed
        ["student.user_features=true", "data.users={paths: x, id: u, numeric: [age]}"],
        ["teacher.weights=[1.5, -0.5]"],
        ["distill={targets: score, standardise: true}"],
        ["data.interactions={paths: x, delimiter: ',', header: true}"],  # as a dumped configuration has it
    ],
)
def test_what_does_something_or_is_the_default_is_accepted(overrides: list[str]) -> None:
    config = parse_config(minimal(), overrides)
    assert Config.model_validate(config.model_dump(mode="json", by_alias=True)) == config


def test_user_features_of_a_mere_list_of_users() -> None:
    with pytest.raises(ConfigError, match="needs feature columns"):
        parse_config(minimal(), ["student.user_features=true", "data.users={paths: x, id: u}"])


def test_overrides_reach_into_lists_and_new_sections() -> None:
    config = parse_config(
        minimal(), ["teacher.members.0.l2=7.5", "data.features.history_length=70", "spark.master=local[1]"]
    )
    assert isinstance(config.teacher, EnsembleConfig)
    assert config.teacher.members[0].l2 == 7.5  # type: ignore[union-attr]
    assert config.data.features.history_length == 70
    assert config.spark.master == "local[1]"


def test_an_override_replaces_an_element_of_a_list_and_reaches_into_it() -> None:
    raw = minimal()
    raw["distill"] = {"losses": [{"kind": "rd"}, {"kind": "cd", "weight": 2.0}]}
    config = parse_config(raw, ["distill.losses.1.weight=0.25", "distill.losses.0={kind: rrd, weight: 3}"])
    assert [(loss.kind, loss.weight) for loss in config.distill.losses] == [("rrd", 3.0), ("cd", 0.25)]
    assert parse_config(raw, ["evaluation.ks=[5, 10, 20]", "evaluation.ks.2=30"]).evaluation.ks == [5, 10, 30]


@pytest.mark.parametrize(
    "override",
    ["teacher.members.\u00b2.l2=1", "scoring.k", "=3", "teacher.members.9.l2=1", "seed.deep=1", "scoring.k=[1"],
)
def test_bad_overrides(override: str) -> None:
    with pytest.raises(ConfigError):
        parse_config(minimal(), [override])


def test_file_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.yaml"):
        load_config(tmp_path / "missing.yaml")
    for text in ("a: [1", "- 1\n- 2\n", "\x00"):
        broken = tmp_path / "broken.yaml"
        broken.write_text(text)
        with pytest.raises(ConfigError, match=r"broken\.yaml"):
            load_config(broken)


def test_equal_sections_have_equal_digests() -> None:
    one, two = parse_config(minimal()), parse_config(minimal(), ["scoring.k=21"])
    assert one.student.digest() == two.student.digest()
    assert one.scoring.digest() != two.scoring.digest()


def test_dump_and_parse_round_trip() -> None:
    config = parse_config(minimal(), ["distill.lambda=3"])
    assert Config.model_validate(config.model_dump(mode="json", by_alias=True)) == config


@pytest.mark.parametrize("key", ["student", "teacher"])
def test_a_set_of_items_needs_noise_where_histories_are_read(key: str) -> None:
    raw = minimal()
    raw["data"] = {**raw["data"], "split": {"kind": "random"}, "examples": {"kind": "set"}}
    raw |= {"teacher": {"kind": "ease"}, "student": {"kind": "mf"}, key: {"kind": "bag"}}
    with pytest.raises(ConfigError, match=rf"shows a model its own targets; set `{key}\.input_dropout`"):
        parse_config(raw)
    parse_config(raw, [f"{key}.input_dropout=0.5"])


def test_a_gate_needs_validation_events() -> None:
    raw = minimal()
    raw["data"]["split"] = {"kind": "provided", "test": {"paths": "x"}, "valid_fraction": 0}
    parse_config(raw)
    with pytest.raises(ConfigError, match="`combine: gate` is fitted on validation events"):
        parse_config(raw, ["teacher.combine=gate"])
    nested = {"kind": "ensemble", "members": [raw["teacher"] | {"combine": "gate"}, {"kind": "als"}]}
    with pytest.raises(ConfigError, match="`combine: gate` is fitted on validation events"):
        parse_config(raw | {"teacher": nested})
    parse_config(raw, ["teacher.combine=gate", "data.split.valid_fraction=0.1"])


def test_a_set_of_items_is_made_of_scoring_inputs() -> None:
    raw = minimal()
    raw["data"] = {**raw["data"], "split": {"kind": "random"}, "examples": {"kind": "set"}}
    raw |= {"teacher": {"kind": "ease"}, "student": {"kind": "mf"}}
    parse_config(raw)
    with pytest.raises(ConfigError, match=r"`soft_labels\.scoring_inputs` adds nothing to `examples.kind: set`"):
        parse_config(raw, ["soft_labels.scoring_inputs=5"])


def test_scoring_inputs_alone_teach_by_soft_labels_alone() -> None:
    raw = minimal() | {"student": {"kind": "mf"}, "soft_labels": {"positions": False, "scoring_inputs": 1}}
    raw |= {"distill": {"hard_weight": 0}}
    parse_config(raw)
    with pytest.raises(ConfigError, match="leaves nothing to label"):
        parse_config(copy.deepcopy(raw), ["soft_labels.scoring_inputs=0"])
    with pytest.raises(ConfigError, match=r"`distill.hard_weight` 1 weighs nothing with `soft_labels.positions"):
        parse_config(copy.deepcopy(raw), ["distill.hard_weight=1"])
    with pytest.raises(ConfigError, match="agreement compares the teacher with a row's targets, which scoring"):
        parse_config(copy.deepcopy(raw), ["distill.lambda_schedule=[{kind: agreement}]"])
