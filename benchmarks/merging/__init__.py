"""The part of the merge benchmark: the models."""
