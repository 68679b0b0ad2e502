"""Search for settings: which values to try next, and what is known of those that were tried. No models, no tables."""
