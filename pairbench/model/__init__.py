"""The network of a config, the file that a trained one is kept in, and its answers."""
