"""Measuring the speed of a network and the memory that it takes."""
