"""The verdict as JUnit XML, which every CI system shows: one test case a rule.

A failed rule is a failure. An inconclusive rule is an *error* of type ``inconclusive``,
JUnit's word for a test that came to no result: systems show it red. A skipped test
would be shown green, and not knowing is not passing.
"""

from __future__ import annotations

from io import BytesIO

from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

from robustcert.gate.outcome import Outcome
from robustcert.gate.rules import RuleVerdict
from robustcert.gate.verdict import GateVerdict
from robustcert.results.plain_text import plain_text

SUITE = "robustcert gate"


def junit_xml(verdict: GateVerdict) -> str:
    """``verdict`` as the text of a JUnit file, to be encoded as UTF-8."""
    suite = TestSuite(SUITE)
    suite.add_testcases([_case(rule) for rule in verdict.rules])
    document = JUnitXml(SUITE)
    document.add_testsuite(suite)
    text = BytesIO()
    # Through minidom, so that the bytes are the same with and without lxml.
    document.write(text, pretty=True)
    return text.getvalue().decode("utf-8")


def _case(rule: RuleVerdict) -> TestCase:
    case = TestCase(plain_text(rule.title), classname="robustcert.gate")
    reason, remedy = plain_text(rule.reason), plain_text(rule.remedy)
    if rule.outcome is Outcome.PASSED:
        case.system_out = reason
        return case
    kind = Failure if rule.outcome is Outcome.FAILED else Error
    result = kind(reason, rule.outcome.value)
    result.text = f"{reason}\n{remedy}"
    case.result = [result]
    return case
