"""A folder of images by class as a data set: listed, decoded once, split by seed."""
