"""The exact answer on tiny ReLU nets, by mixed-integer programs; needs scipy."""
