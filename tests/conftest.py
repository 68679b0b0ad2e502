"""One Spark session for all tests, started when the first test asks for it; no test fails for being slow.

KDSPARK_TEST_SETTINGS="key=value key=value" adds Spark settings to it, such as those of fault 33.
"""

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings
from pyspark.sql import SparkSession

from kdspark.config import SparkConfig
from kdspark.spark.session import build_session

# A first example pays for imports and a busy machine; a deadline would make it red by chance.
settings.register_profile("kdspark", deadline=None)
settings.load_profile("kdspark")

_SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "3",
    "spark.default.parallelism": "2",
    "spark.driver.memory": "1g",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}


@pytest.fixture(autouse=True)
def logger_as_it_was() -> Iterator[None]:
    """What the command line does to kdspark's logger ends with the test, as the stream does that it writes to."""
    logger = logging.getLogger("kdspark")
    before = logger.handlers[:], logger.propagate, logger.level
    yield
    logger.handlers[:], logger.propagate = before[:2]
    logger.setLevel(before[2])


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """Two threads, and task retries as on a cluster."""
    logging.getLogger("py4j").setLevel(logging.ERROR)
    more = dict(setting.split("=", 1) for setting in os.environ.get("KDSPARK_TEST_SETTINGS", "").split())
    session = build_session(SparkConfig(master="local[2,4]", settings={**_SETTINGS, **more}), "kdspark tests")
    yield session
    session.stop()
