"""Training methods: each defines a training step with its networks, losses and optimisers, without any I/O."""
