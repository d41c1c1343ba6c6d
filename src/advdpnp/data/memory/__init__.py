"""Images that the caller has in memory: arrays, tensors, data sets of torch and of HuggingFace."""
