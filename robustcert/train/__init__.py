"""Training of robust classifiers: a fit and a weighted penalty, one backward pass."""
