"""Records, models and timings on disk: whole or not at all."""
