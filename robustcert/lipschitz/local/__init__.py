"""What activations see, and their slopes, while the input stays in a region."""
