"""Remedies of refused files, and how a stranger's strings are quoted."""

from __future__ import annotations

SCRIPT = (
    "Save the model with torch.jit.save(torch.jit.script(model.eval()), FILE), "
    "or with torch.jit.trace(model.eval(), example) in place of script."
)
SEND_AGAIN = "Check that the file is whole, and send it again."
SAVE_AGAIN = (
    "Save the model again with torch.jit.save or torch.export.save, and do not repack "
    "the file."
)
SMALLER = "Export a smaller model, or raise the limit where you run robustcert."
PLAIN_FORWARD = (
    "Leave this out of forward(): export only the computation from inputs to logits."
)
STANDARD_ONNX = (
    "Export the model with its weights inside the file: torch.onnx.export(model.eval(),"
    " (example,), FILE, external_data=False); or save it as TorchScript."
)


def quoted(text: str, limit: int = 80) -> str:
    """A stranger's string, safe to show: printable ASCII, in quotes, cut short."""
    shown = ascii(text[:limit])
    return shown if len(text) <= limit else f"{shown} (cut short)"
