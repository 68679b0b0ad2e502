"""kdspark: nightly batch recommendations on Spark, distilled from a large teacher into a small student."""

__version__ = "0.1.0"
