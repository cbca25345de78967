"""Measures the speed and the memory of a network."""
