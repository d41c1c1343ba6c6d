"""What a report says of masking audits."""

import json
from pathlib import Path
from typing import Any

import pytest

from advdpnp.audit_files import read_audit
from advdpnp.report.page import write_report
from advdpnp.report.read import read_run
from advdpnp.report.sections.audit import audit_section
from report.conftest import Json, MakeRun


def audit(verdict: str = "masked", **numbers: float) -> Json:
    check = {
        "name": "black box",
        "verdict": verdict,
        "measured": "Square breaks 30 of 40",
        "expected": "at most 2%",
        "advice": "quote the lowest",
        "numbers": {},
    }
    return {
        "schema": 1,
        "norm": "linf",
        "eps": "0.1",
        "n": 40,
        "seed": 0,
        "verdict": verdict,
        "conclusion": "the numbers of gradient attacks cannot be believed",
        **numbers,
        "checks": [check],
        "curves": {},
    }


def audited(make_run: MakeRun, name: str, content: Json) -> Path:
    folder = make_run("adv-dpnp")
    (folder / "eval" / name).write_text(json.dumps(content))
    return folder


def test_the_page_has_the_verdict_its_numbers_and_its_evidence(make_run: MakeRun, tmp_path: Path) -> None:
    folder = audited(make_run, "audit.json", audit(clean=1.0, claimed=0.95, lowest=0.2))
    text = write_report([folder], tmp_path / "report").read_text()
    assert 'id="audit"' in text and "Can the numbers be believed?" in text
    for said in ("linf, eps 0.1, 40 images", "95.0", "20.0", "Square breaks 30 of 40", "quote the lowest"):
        assert said in text, said
    assert len(list((tmp_path / "report" / "figures").glob("audit-*.svg"))) == 1


def test_an_audit_that_refused_has_no_numbers_and_one_without_audits_no_part(make_run: MakeRun) -> None:
    folder = make_run("adv-dpnp")
    assert audit_section([read_run(folder)]) == []
    (folder / "eval" / "audit-l2.json").write_text(json.dumps(audit("refused") | {"norm": "l2"}))
    (section,) = audit_section([read_run(folder)])
    (row,) = section.tables[0].rows
    assert [cell.text for cell in row.cells[1:]] == ["–", "–", "–", "refused"]


def test_a_damaged_audit_is_named(make_run: MakeRun) -> None:
    folder = audited(make_run, "audit@mnist.json", {"schema": 1})
    with pytest.raises(ValueError, match=r"audit@mnist.json is damaged .* audit again with advdpnp audit"):
        read_audit(folder / "eval" / "audit@mnist.json")
    # The report goes on without it.
    run = read_run(folder)
    assert run.audits == [] and "audit@mnist.json" in run.unread[0].reason


def test_curves_of_several_lengths_are_damage(make_run: MakeRun) -> None:
    content = audit() | {"curves": {"eps": {"eps": [0.0, 0.1], "accuracy": [1.0]}}}
    folder = audited(make_run, "audit.json", content)
    with pytest.raises(ValueError, match="lists of several lengths"):
        read_audit(folder / "eval" / "audit.json")


@pytest.mark.parametrize(
    "changed",
    [
        {"curves": {"attacks": {"PGD-20": 2**62}}},
        {"curves": {"attacks": {"x" * 100_000: 0.5}}},
        {"curves": {"eps": {"eps": [0.0, 0.1], "accuracy": [1.0, 1e300]}}},
        {"curves": {"eps": {"eps": [0.1], "accuracy": [1.0]}}},
        {"lowest": -1.0},
        {"n": 0},
        {"eps": "many"},
        {"clean": 0.1, "claimed": 0.5, "lowest": 0.1},
        {"checks": [audit()["checks"][0] | {"verdict": "proven"}]},
    ],
    ids=[
        "a share above 1",
        "a name without end",
        "an accuracy above 1",
        "a curve of one point",
        "a share below 0",
        "no images",
        "no radius",
        "an attack that adds right images",
        "a verdict of no check",
    ],
)
def test_numbers_that_are_none_of_an_audit_are_damage(changed: dict[str, Any], make_run: MakeRun) -> None:
    folder = audited(make_run, "audit.json", audit() | changed)
    with pytest.raises(ValueError, match=r"audit\.json is damaged") as error:
        read_audit(folder / "eval" / "audit.json")
    assert len(str(error.value)) < 400
