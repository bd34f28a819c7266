"""The parts of the merge benchmark: the models, and one child process watched."""
