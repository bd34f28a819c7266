"""Version control for the parameters of machine-learning models."""
