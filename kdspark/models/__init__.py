"""Recommenders in torch: encoders, closed forms, ensembles, storage. Never imports Spark."""
