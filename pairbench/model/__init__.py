"""The network of a config, the file that a trained model is saved in, and its predictions."""
