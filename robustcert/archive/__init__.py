"""Uploaded files read as bytes, never executed; torch-free.

A TorchScript file is a program from a stranger, an ONNX file is its data. The scan
(:func:`robustcert.archive.inspect.inspect`) reads it before anything loads it and
refuses what a classifier does not need. It saves work and gives good messages; the
boundary is :mod:`robustcert.sandbox`.
"""
