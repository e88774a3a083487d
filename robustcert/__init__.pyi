from robustcert.evaluation.local import evaluate
from robustcert.results.document import from_document
from robustcert.results.report import RobustnessReport

__all__ = ["RobustnessReport", "evaluate", "from_document"]
