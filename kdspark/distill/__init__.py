"""How a student learns: losses, targets, the feed and the trainer. Imports torch, never pyspark."""
