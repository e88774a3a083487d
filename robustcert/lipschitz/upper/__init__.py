"""Upper bounds: no pair of inputs exceeds them."""
