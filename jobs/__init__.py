"""spark-submit entry points, one per stage, and nightly.py."""
