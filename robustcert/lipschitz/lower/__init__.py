"""Lower bounds: a witness proves them."""
