"""Programs on a torus: convolutions by frequency, never unrolled."""
