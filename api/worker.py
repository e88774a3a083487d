"""The only place where the service meets evaluation, across the sandbox's border.

What the child answers is a guest's word: a model that took the child over could answer
anything. So the document is read by its laws, must be about the bytes and the threat
model of the order, and is written again by this process.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from robustcert.attacks.budget import Budget
from robustcert.errors import ChildCrashedError, RobustCertError, UsageError
from robustcert.evaluation.plan import EvaluationPlan
from robustcert.evaluation.request import EvaluationRequest, to_request
from robustcert.results.document import Document, from_document, issue
from robustcert.results.report import RobustnessReport
from robustcert.sandbox.confine import LAYERS
from robustcert.sandbox.limits import MIB, Limits
from robustcert.sandbox.run import run_in_child

from .work import Entry, Watch, WorkOrder


def check_sandbox(offered: Collection[str]) -> None:
    """Refuse to run strangers' models where a layer of the sandbox is missing.

    Args:
        offered: the layers that this machine has.

    Raises:
        UsageError: names the layers that are missing.
    """
    missing = [layer for layer in LAYERS if layer not in offered]
    if missing:
        raise UsageError(
            f"this machine does not offer {', '.join(missing)}, and the service runs "
            "strangers' models.",
            remedy=(
                "Use Linux 5.13 or newer with landlock and seccomp; or set "
                "ROBUSTCERT_ALLOW_WEAK_SANDBOX=true if you trust every model."
            ),
        )


def run_order(entry: Entry, order: WorkOrder, watch: Watch) -> Document:
    """The report document of ``order``, from a sandbox child; blocks.

    Args:
        entry: what the child runs.
        order: what to evaluate.
        watch: hears the progress, and may end the run.

    Raises:
        RobustCertError: the evaluation failed, and why.
    """
    try:
        answer = run_in_child(
            entry.function,
            child_request(order),
            Limits(seconds=order.seconds, memory_bytes=order.memory_mb * MIB),
            files=[path for path in (order.model_path, order.samples_path) if path],
            code=entry.code,
            home=order.folder,
            on_progress=watch.listener,
            cancelled=watch.cancelled,
        )
    except RobustCertError as error:
        if type(error).__module__ != RobustCertError.__module__:
            raise ChildCrashedError(
                f"The model's process claimed an error of the service: {error.message}"
            ) from error
        raise
    return issue(_checked(answer, order))


def child_request(order: WorkOrder) -> dict[str, Any]:
    """The JSON that the child is given."""
    asked = order.request
    plan = EvaluationPlan(
        threats=asked.threat_model.sweep(),
        count=asked.samples.count,
        tier=asked.tier,
        effort=asked.effort,
        seed=asked.samples.seed,
        attacks=tuple(asked.attacks),
        certifiers=tuple(asked.certifiers),
        certify_seconds=asked.budget.certify_seconds,
        budget=Budget(asked.budget.attack_seconds, asked.budget.attack_queries),
        smoothing=(
            None
            if asked.smoothing is None
            else asked.smoothing.plan(asked.samples.seed)
        ),
    )
    request = EvaluationRequest(
        model=str(order.model_path),
        samples=str(order.samples_path or asked.samples.id),
        plan=plan,
        input_shape=None if asked.input_shape is None else tuple(asked.input_shape),
        sample_name=order.samples_name,
        checkpoints=str(order.folder),
        seconds=order.seconds,
    )
    return to_request(request)


def _checked(answer: Mapping[str, Any], order: WorkOrder) -> RobustnessReport:
    """The report in the child's answer, if it is about what was asked."""
    document = answer.get("document")
    if not isinstance(document, Mapping):
        raise ChildCrashedError("The model's process answered without a document.")
    report = from_document(document)
    asked = (order.model_sha256, order.request.threat_model.sweep())
    if (report.model.sha256, report.threats) != asked:
        raise ChildCrashedError("The model's process answered about something else.")
    return report
