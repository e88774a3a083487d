"""A policy is read strictly: what is misspelt is refused, never ignored."""

from __future__ import annotations

import copy

import pytest

from robustcert.errors import PolicyError
from robustcert.gate.policy import Metric, Rule, policy_from, read_policy
from robustcert.results.effort import Effort, Tier
from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box

TOML = """
[evaluate]
samples = "holdout.npz"
norm = "l2"
epsilons = [0.25]
box = [-1.0, 1]
count = 500
tier = "thorough"
effort = "tight"
certifiers = ["interval", "crown"]
certify_seconds = 2.5
attack_seconds = 30.0
attack_queries = 100000
seed = 7

[[rule]]
metric = "clean_accuracy"
min = 0.95
confidence = 0.9

[[rule]]
metric = "certified_accuracy"
epsilon = 0.5
min = 0.8

[[rule]]
metric = "lipschitz"
max = 20
"""

CONTENT = {
    "evaluate": {"samples": "digits", "norm": "linf"},
    "rule": [
        {"metric": "clean_accuracy", "min": 0.9},
        {"metric": "robust_accuracy", "epsilon": 0.1, "min": 0.5},
    ],
}


def written(folder, text, name="robustcert.toml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_policy_says_what_to_evaluate_and_what_to_ask(tmp_path):
    policy = read_policy(written(tmp_path, TOML))
    subject = policy.subject
    assert subject.samples == str(tmp_path / "holdout.npz")
    assert subject.threats.norm is Norm.L2
    assert subject.threats.epsilons == (0.25, 0.5)
    assert subject.threats.box == Box(-1.0, 1.0)
    assert (subject.count, subject.seed) == (500, 7)
    assert (subject.tier, subject.effort) == (Tier.THOROUGH, Effort.TIGHT)
    assert subject.certifiers == ("interval", "crown")
    assert subject.certify_seconds == 2.5
    assert (subject.attack_seconds, subject.attack_queries) == (30.0, 100_000)
    assert policy.rules == (
        Rule(Metric.CLEAN, 0.95, confidence=0.9),
        Rule(Metric.CERTIFIED, 0.8, epsilon=0.5),
        Rule(Metric.LIPSCHITZ, 20.0),
    )


def test_a_policy_in_pyproject_stands_under_tool_robustcert(tmp_path):
    text = TOML.replace("[evaluate]", "[tool.robustcert.evaluate]")
    text = '[project]\nname = "x"\n' + text.replace("[rule]", "[tool.robustcert.rule]")
    apart = read_policy(written(tmp_path, TOML))
    assert read_policy(written(tmp_path, text, "pyproject.toml")) == apart


def test_a_built_in_sample_set_is_no_path(tmp_path):
    assert policy_from(CONTENT, tmp_path).subject.samples == "digits"


def test_a_policy_without_epsilons_evaluates_at_zero():
    content = CONTENT | {"rule": [{"metric": "clean_accuracy", "min": 0.9}]}
    assert policy_from(content).subject.threats.epsilons == (0.0,)


@pytest.mark.parametrize(
    ("table", "key", "value", "named"),
    [
        ("evaluate", "norm", "l7", "evaluate.norm"),
        ("evaluate", "norm", None, "evaluate.norm"),
        ("evaluate", "samples", "", "evaluate.samples"),
        ("evaluate", "sample", "digits", "evaluate.sample"),
        ("evaluate", "count", 0, "evaluate.count"),
        ("evaluate", "count", "many", "evaluate.count"),
        ("evaluate", "tier", "extreme", "evaluate.tier"),
        ("evaluate", "epsilons", [-0.1], "evaluate.epsilons"),
        ("evaluate", "epsilons", [float("inf")], "evaluate.epsilons"),
        ("evaluate", "box", [1.0, 0.0], "evaluate.box"),
        ("evaluate", "box", [1.0], "evaluate.box"),
        (1, "metric", "robustness", "rule 2, metric"),
        (1, "min", None, "rule 2, min"),
        (1, "min", 95, "rule 2, min"),
        (1, "min", True, "rule 2, min"),
        (1, "min", float("nan"), "rule 2, min"),
        (1, "max", 0.9, "rule 2, max"),
        (1, "epsilon", None, "rule 2, epsilon"),
        (1, "epsilon", -0.1, "rule 2, epsilon"),
        (1, "minimum", 0.9, "rule 2, minimum"),
        (1, "confidence", 95, "rule 2, confidence"),
        (0, "epsilon", 0.1, "rule 1, epsilon"),
    ],
)
def test_a_wrong_key_is_refused_by_name(table, key, value, named):
    content = copy.deepcopy(CONTENT)
    place = content["rule"][table] if isinstance(table, int) else content[table]
    if value is None:
        del place[key]
    else:
        place[key] = value
    with pytest.raises(PolicyError) as refused:
        policy_from(content)
    assert refused.value.message.startswith(named)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    "rule",
    [
        {"metric": "lipschitz", "min": 0.5},
        {"metric": "lipschitz", "max": 5.0, "epsilon": 0.1},
        {"metric": "lipschitz", "max": 5.0, "confidence": 0.9},
    ],
)
def test_a_lipschitz_rule_has_a_maximum_and_nothing_else(rule):
    with pytest.raises(PolicyError, match="rule 1"):
        policy_from(CONTENT | {"rule": [rule]})


@pytest.mark.parametrize("rules", [[], None])
def test_a_policy_without_rules_would_pass_everything_and_is_refused(rules):
    content = {"evaluate": CONTENT["evaluate"]} | ({"rule": []} if rules == [] else {})
    with pytest.raises(PolicyError, match="rule"):
        policy_from(content)


def test_an_unknown_table_is_refused():
    with pytest.raises(PolicyError, match="rules"):
        policy_from(CONTENT | {"rules": []})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("robustcert.toml", "[evaluate"),
        ("pyproject.toml", "[project]\nname = 'x'"),
        ("pyproject.toml", "tool = 3"),
    ],
)
def test_a_file_without_a_policy_is_refused(tmp_path, name, text):
    with pytest.raises(PolicyError, match=name):
        read_policy(written(tmp_path, text, name))


def test_a_file_that_is_no_text_or_is_absent_is_refused(tmp_path):
    path = tmp_path / "robustcert.toml"
    with pytest.raises(PolicyError, match="No such file"):
        read_policy(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PolicyError, match="not TOML"):
        read_policy(path)
