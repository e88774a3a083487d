"""What we measure: model files and sample sets."""
