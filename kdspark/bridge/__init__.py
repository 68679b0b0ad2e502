"""The only room where Spark and torch meet: label generation, scoring, training from tables."""
