"""Spark side: session, ingest, ids, split, features, metrics. Imports pyspark, never torch."""
