"""The child process in which a stranger's model runs; torch-free.

The caller sees :func:`robustcert.sandbox.run.run_in_child`; the process it starts shuts
itself in (:mod:`robustcert.sandbox.confine`) before it imports the code that will touch
the model. Whatever happens in there ends in a value or in a typed error.
"""
