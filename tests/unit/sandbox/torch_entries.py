"""Functions that the tests run in a child process and that load a model there."""

from __future__ import annotations

import torch

from robustcert.results.progress import Progress


def run_files(request, report, layers):
    """Load and run each file with nothing in front of it; what became of each.

    The scan is skipped on purpose: the sandbox must hold without it.
    """
    torch.set_num_threads(1)
    outcomes = {}
    for done, path in enumerate(request["paths"]):
        report(Progress(path, done, len(request["paths"])))
        try:
            output = torch.jit.load(path)(torch.rand(2, 3))
            outcomes[path] = f"ran: {tuple(output.shape)}"
        except RuntimeError as error:
            outcomes[path] = f"raised: {str(error)[:2000]}"
    return {"outcomes": outcomes}


def run_one(request, report, layers):
    """Load and run one file and let its exception through."""
    torch.set_num_threads(1)
    report(Progress("loading", 0, 2))
    model = torch.jit.load(request["path"])
    report(Progress("running", 1, 2))
    return {"shape": list(model(torch.rand(2, 3)).shape)}


def compute(request, report, layers):
    """Sums that need several threads, convolutions and gradients."""
    torch.set_num_threads(2)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(16, 3, 32, 32, generator=generator, requires_grad=True)
    weight = torch.rand(8, 3, 3, 3, generator=generator)
    torch.nn.functional.conv2d(inputs, weight).sum().backward()
    matrix = torch.rand(256, 256, generator=generator, dtype=torch.float64)
    values = torch.linalg.svdvals(matrix)
    return {"gradient": inputs.grad.sum().item(), "largest": values[0].item()}
