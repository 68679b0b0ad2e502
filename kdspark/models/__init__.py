"""Recommenders: encoders, closed-form models, ensembles and their storage. Imports torch, never pyspark."""
