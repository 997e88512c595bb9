"""Training methods: one training step each, networks + losses + optimisers, no input or output."""
