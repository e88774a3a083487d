"""Documents are read strictly, and say which field is wrong."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace

import pytest

from robustcert.errors import ConsistencyError, DocumentError
from robustcert.results.bound import UpperBound, Witness
from robustcert.results.document import (
    ATTACK_SCHEMA,
    CERTIFY_SCHEMA,
    LIPSCHITZ_SCHEMA,
    REPORT_SCHEMA,
    attack_document,
    canonical_json,
    certify_document,
    from_document,
    from_json,
    issue,
    lipschitz_document,
    to_document,
    without_times,
)
from robustcert.results.document_wire import ReportWire
from robustcert.results.norm import Norm
from robustcert.results.report import LayerCard, Level
from tests.golden.handmade import (
    hostile_report,
    model_card,
    provenance,
    small_report,
    unreliable_report,
)

DROPPED = object()


def changed(path, value):
    document = copy.deepcopy(issue(small_report()))
    place = document
    for step in path[:-1]:
        place = place[step]
    if value is DROPPED:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


def test_the_schemas_top_level_names_stand_in_the_order_of_the_specification():
    assert list(issue(small_report())) == [
        "schema",
        "model",
        "samples",
        "threat_model",
        "lipschitz",
        "accuracy",
        "per_sample",
        "attacks",
        "certifiers",
        "smoothing",
        "findings",
        "provenance",
    ]


def test_the_hand_made_numbers_stand_where_the_specification_says():
    document = issue(small_report())
    assert document["schema"] == "robustcert/report/v1"
    assert document["threat_model"] == {
        "norm": "linf",
        "epsilons": [0.0, 0.05, 0.1],
        "box": [0.0, 1.0],
    }
    assert document["accuracy"]["clean"] == 0.875
    last = document["accuracy"]["curve"][-1]
    assert (last["certified"], last["robust"]) == (0.375, 0.625)
    assert document["lipschitz"]["lower"]["value"] == 11.75
    assert document["lipschitz"]["lower"]["method"] == "jacobian_ascent"
    assert document["lipschitz"]["upper"] == {"value": 18.5, "method": "liplt"}
    assert document["per_sample"][0]["adversarial_distance"] is None
    assert document["per_sample"][2]["at"] == [
        {"epsilon": 0.0, "verdict": "certified", "by": "lipschitz_margin"},
        {"epsilon": 0.05, "verdict": "undecided", "by": None},
        {"epsilon": 0.1, "verdict": "broken", "by": "apgd_margin"},
    ]


def test_a_report_comes_back_from_its_document():
    report = small_report()
    back = from_document(issue(report))
    first, best = report.lipschitz.lowers
    carried = replace(first, witness=Witness((), (), first.value))
    assert back == replace(
        report, lipschitz=replace(report.lipschitz, lowers=(carried, best))
    )


def test_a_hostile_string_comes_back_as_it_was():
    back = from_json(canonical_json(issue(hostile_report())))
    assert back.model == hostile_report().model
    assert canonical_json(issue(hostile_report())).isascii()


def test_a_report_that_breaks_a_law_is_not_issued_in_any_document():
    report = small_report()
    rows = (replace(report.rows[0], predicted=4), *report.rows[1:])
    for issued in (issue, attack_document, certify_document):
        with pytest.raises(ConsistencyError):
            issued(replace(report, rows=rows))


def test_an_unbounded_upper_bound_is_null_with_a_finding_that_names_who_refused():
    document = issue(unreliable_report())
    assert document["lipschitz"]["upper"] == {"value": None, "method": None}
    (finding,) = [f for f in document["findings"] if f["rule"] == "lipschitz-unbounded"]
    assert "spectral_product refused layer 'attn'" in finding["message"]
    assert finding["level"] == "warning"
    assert finding["remedy"]


def test_an_overflowed_upper_bound_is_null_and_comes_back_as_infinite():
    report = small_report()
    vacuous = UpperBound(math.inf, Norm.LINF, "spectral_product")
    for uppers in ((vacuous,), (*report.lipschitz.uppers, vacuous)):
        bracket = replace(report.lipschitz, uppers=uppers)
        document = issue(replace(report, lipschitz=bracket))
        assert document["lipschitz"]["bounds"][-1]["value"] is None
        assert "lipschitz-unbounded" in {f["rule"] for f in document["findings"]}
        assert from_document(document).lipschitz.uppers == uppers


def test_an_overflowed_operator_norm_is_null():
    report = small_report()
    layers = (LayerCard("head", "linear", (10,), math.inf),)
    document = issue(replace(report, model=replace(report.model, layers=layers)))
    assert document["model"]["layers"][0]["operator_norm"] is None


def test_an_explanation_that_is_there_already_is_not_repeated():
    once = issue(unreliable_report())
    assert issue(from_document(once)) == once


def test_the_best_lower_bounds_witness_is_written_and_a_huge_one_is_left_out():
    report = small_report()
    assert issue(report)["lipschitz"]["lower"]["witness"] == {
        "first": [0.0, 0.5, 1.0],
        "second": [0.25, 0.5, 1.0],
        "ratio": 11.75,
    }
    huge = Witness((0.5,) * 4097, (0.25,) * 4097, 11.75)
    best = replace(report.lipschitz.lowers[1], witness=huge)
    bracket = replace(report.lipschitz, lowers=(best,))
    document = issue(replace(report, lipschitz=bracket))
    assert document["lipschitz"]["lower"]["witness"] is None
    assert from_document(document).lipschitz.lower.value == 11.75


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (["model"], DROPPED, "model"),
        (["model", "classes"], "ten", "model.classes"),
        (["model", "output"], "softmax", "model.output"),
        (["samples", "count"], -1, "samples.count"),
        (["threat_model", "norm"], "l7", "threat_model.norm"),
        (["threat_model", "box"], [1.0, 0.0], "threat_model"),
        (["threat_model", "epsilons"], [], "threat_model"),
        (["threat_model", "epsilons"], [0.1, 0.05, 0.0], "threat_model.epsilons"),
        (["per_sample", 1, "margin"], math.nan, "per_sample[1].margin"),
        (["per_sample", 1, "margin"], "3.5", "per_sample[1].margin"),
        (["per_sample", 2, "certified_radius"], DROPPED, "per_sample[2]"),
        (["per_sample", 0, "certified_radius"], 0.09, "accuracy.curve[2].certified"),
        (["per_sample", 0, "at", 2, "verdict"], "broken", "per_sample[0].at[2]"),
        (["accuracy", "clean"], 1.0, "accuracy.clean"),
        (["accuracy", "clean"], 1.5, "accuracy.clean"),
        (["accuracy", "curve", 2, "robust"], 0.75, "accuracy.curve[2].robust"),
        (["accuracy", "curve"], [], "accuracy.curve"),
        (["lipschitz", "upper", "value"], 17.0, "lipschitz.upper.value"),
        (["lipschitz", "upper", "value"], None, "lipschitz.upper.value"),
        (["lipschitz", "lower", "method"], "guess", "lipschitz.lower.method"),
        (["lipschitz", "bounds", 0, "sound"], False, "lipschitz.bounds[0].sound"),
        (["lipschitz", "bounds", 0, "value"], None, "lipschitz.bounds"),
        (["lipschitz", "scope"], "box", "lipschitz.scope"),
        (["provenance", "seconds"], math.inf, "provenance.seconds"),
        (["findings", 0, "level"], "fatal", "findings[0].level"),
    ],
)
def test_a_document_with_a_wrong_field_is_refused_and_the_field_is_named(
    path, value, field
):
    with pytest.raises(DocumentError) as refused:
        from_document(changed(path, value))
    assert refused.value.message.startswith(field)
    assert field in refused.value.remedy


def test_a_document_that_breaks_a_law_is_refused():
    document = changed(["per_sample", 0, "adversarial_distance"], 0.01)
    document["per_sample"][0]["broken_by"] = "square"
    with pytest.raises(DocumentError, match="inside the radius"):
        from_document(document)


@pytest.mark.parametrize("schema", ["robustcert/report/v2", None, 1, "x" * 999])
def test_a_document_of_another_schema_is_refused(schema):
    with pytest.raises(DocumentError, match="schema") as refused:
        from_document(changed(["schema"], schema))
    assert "robustcert/report/v1" in refused.value.remedy
    assert len(refused.value.message) < 200


def test_a_document_may_have_keys_that_this_version_does_not_know():
    document = changed(["model", "licence"], "MIT")
    document["per_sample"][0]["picture"] = "0.png"
    document["extra"] = {}
    assert from_document(document) == from_document(issue(small_report()))


def test_keys_that_joined_the_schema_later_may_be_missing():
    document = issue(small_report())
    del document["lipschitz"]["refused"]
    del document["lipschitz"]["lower"]["witness"]
    for bound in document["lipschitz"]["bounds"]:
        del bound["scope"]
    for run in document["attacks"]:
        del run["unverified"]
    assert from_document(document).rows == small_report().rows


def test_whole_numbers_written_without_a_point_are_read():
    text = canonical_json(issue(small_report())).replace(": 1.0", ": 1")
    assert from_json(text).threats == small_report().threats


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '"x"', b"\xff\xfe", "[" * 100_000]
)
def test_text_that_is_no_json_object_is_refused(text):
    with pytest.raises(DocumentError):
        from_json(text)


def test_a_nan_in_json_text_is_refused():
    document = changed(["per_sample", 0, "margin"], math.nan)
    with pytest.raises(DocumentError, match="margin"):
        from_json(json.dumps(document))


def test_canonical_text_does_not_depend_on_the_order_of_keys():
    document = issue(small_report())
    turned = dict(reversed(document.items()))
    assert canonical_json(turned) == canonical_json(document)
    assert "\n" not in canonical_json(document, indent=None)


def test_canonical_text_never_holds_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"value": math.nan})


def test_without_times_drops_times_and_the_cache_and_nothing_else():
    document = issue(small_report())
    bare = without_times(document)
    how = document["provenance"]
    assert set(how) - set(bare["provenance"]) == {"started", "seconds", "cache"}
    assert set(document["attacks"][0]) - set(bare["attacks"][0]) == {"seconds"}
    assert bare["per_sample"] == document["per_sample"]
    assert bare["model"] == document["model"]
    assert "seconds" not in json.dumps(bare)


def test_part_documents_hold_their_part_of_the_report_under_the_same_names():
    whole = issue(small_report())
    attack = attack_document(small_report())
    certify = certify_document(small_report())
    assert attack.pop("schema") == ATTACK_SCHEMA
    assert certify.pop("schema") == CERTIFY_SCHEMA
    assert attack == {key: whole[key] for key in attack}
    own = {"schema", "lipschitz", "smoothing"}
    assert set(whole) - set(attack) == own | {"certifiers"}
    assert set(whole) - set(certify) == own | {"attacks"}
    assert certify == {key: whole[key] for key in certify}


def test_a_lipschitz_document_explains_a_missing_upper_bound():
    bracket = unreliable_report().lipschitz
    document = lipschitz_document(model_card(), bracket, provenance())
    assert document["schema"] == LIPSCHITZ_SCHEMA
    assert document["lipschitz"]["upper"]["value"] is None
    assert document["findings"][0]["level"] == Level.WARNING.value


def test_a_contradictory_bracket_gives_no_lipschitz_document():
    bracket = small_report().lipschitz
    low = (UpperBound(1.0, Norm.LINF, "liplt"),)
    with pytest.raises(ConsistencyError, match="proves"):
        lipschitz_document(model_card(), replace(bracket, uppers=low), provenance())


def test_what_is_written_is_what_the_wire_models_describe():
    wire = ReportWire.model_validate(to_document(small_report()))
    assert wire.model_dump(by_alias=True) == to_document(small_report())
    assert ReportWire.model_json_schema()["title"] == REPORT_SCHEMA
