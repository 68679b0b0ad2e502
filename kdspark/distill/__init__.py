"""Distillation: losses, targets, objectives, the feed of training rows, and the training loop."""
