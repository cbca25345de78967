"""From a dataset's pools to the tensors that a round trains on."""
