"""A stand-in for RobustBench, which needs torchvision: the model zoo's layout and file names of RobustBench 1.1."""
