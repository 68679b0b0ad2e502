"""Which two files disagree on a column, wherever among the others they are."""

import pytest

from kdspark.errors import InputError
from kdspark.spark.changed_type import changed_type

AGREEING = ["1L id, 'x' name", "2L id", "3L id, 'y' NAME, 0.5D price", "4L id", "5L id"]


@pytest.fixture
def files(spark, tmp_path):
    def write(selects):
        for index, select in enumerate(selects):
            spark.sql(f"SELECT {select}").write.parquet(str(tmp_path / f"f{index}"))
        return [str(next((tmp_path / f"f{index}").glob("*.parquet"))) for index in range(len(selects))]

    return write


@pytest.mark.parametrize("place", [0, 3, 5])
def test_the_two_files_the_column_and_both_types_are_named(spark, files, place):
    paths = files([*AGREEING[:place], "9L id, 1.5D name", *AGREEING[place:]])
    error = changed_type(spark, paths)
    assert isinstance(error, InputError)
    text = [path for path in paths if path in str(error) and path != paths[place]]
    assert len(text) == 1
    assert "name" in {name.lower() for name in spark.read.parquet(text[0]).columns}
    types = {f"is string, but double in {paths[place]}", f"is double, but string in {text[0]}"}
    assert any(words in str(error) for words in types)


@pytest.mark.parametrize(
    ("here", "there", "column"),
    [
        ("1 id", "1L id", "id"),
        ("struct(1L a, 'x' b) s", "struct('x' b, 'y' a) s", "s"),
        ("1L id, array(1L) v", "2L id, array(1.5D) v", "v"),
        ("map('a', 1L) m", "map('a', 'b') m", "m"),
        ("cast(1 as decimal(9,1)) d", "cast(1 as decimal(9,2)) d", "d"),
    ],
)
def test_types_that_do_not_go_together(spark, files, here, there, column):
    assert f"column '{column}' is " in str(changed_type(spark, files([here, there])))


def test_what_goes_together_is_not_blamed(spark, files):
    both = "cast(1 as decimal({0},1)) d, struct(1L a, 'x' {1}) s"
    paths = files([both.format(9, "b") + ", 1 id", both.format(11, "c") + ", 'x' id"])
    assert "column 'id' is " in str(changed_type(spark, paths))


def test_of_very_many_files_a_sample_is_looked_at(spark, files, monkeypatch):
    monkeypatch.setattr("kdspark.spark.changed_type._MOST_FILES", 2)
    paths = files(["1L id", "2L id", "'x' id", "'y' id"])
    message = str(changed_type(spark, paths))
    assert [path in message for path in paths] == [True, False, True, False]
    assert changed_type(spark, [paths[0], paths[2], paths[1], paths[3]]) is None


def test_a_damaged_file_is_another_matter(spark, files, tmp_path):
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    assert changed_type(spark, [*files(AGREEING[:2]), str(tmp_path / "damaged.parquet")]) is None
