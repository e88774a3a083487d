"""JUnit files that CI systems show red wherever the gate did not pass."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

from junitparser import Error, Failure, JUnitXml

from robustcert.gate.junit import junit_xml
from robustcert.gate.policy import policy_from
from robustcert.gate.summary import summary
from robustcert.gate.verdict import decide
from robustcert.results.report import Level
from tests.golden.documents import POLICY
from tests.golden.handmade import hostile_report, small_report


def hostile_verdict():
    report = hostile_report()
    finding = replace(report.findings[0], level=Level.ERROR)
    report = replace(report, findings=(finding,))
    policy = POLICY | {"evaluate": {"samples": "digits", "norm": "linf"}}
    return decide(report, policy_from(policy))


def test_a_failed_rule_is_a_failure_and_an_inconclusive_one_an_error():
    text = junit_xml(decide(small_report(), policy_from(POLICY)))
    (suite,) = JUnitXml.fromstring(text.encode())
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (4, 1, 1, 0)
    results = [case.result for case in suite]
    assert [len(result) for result in results] == [0, 1, 1, 0]
    assert isinstance(results[1][0], Failure)
    assert isinstance(results[2][0], Error)
    assert results[2][0].type == "inconclusive"
    assert "certify at a higher effort" in results[2][0].text


def test_hostile_names_leave_the_file_well_formed():
    text = junit_xml(hostile_verdict())
    tree = ET.fromstring(text.encode())  # noqa: S314 - our own text
    messages = [error.get("message") for error in tree.iter("error")]
    assert len(messages) == 4
    assert {element.tag for element in tree.iter()} == {
        "testsuites",
        "testsuite",
        "testcase",
        "error",
    }


def test_hostile_names_start_nothing_in_a_step_summary():
    text = summary(hostile_verdict())
    lines = text.splitlines()
    assert len(lines) == 4 + len(POLICY["rule"])
    assert "<script" not in text.replace(r"\<script", "")
    assert "\x1b" not in text
