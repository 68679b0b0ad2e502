"""Exact top-k and ranking metrics on numpy arrays."""
