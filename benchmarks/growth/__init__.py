"""How time and memory of a training step, an attack, an evaluation and predictions grow, as one thing grows."""
