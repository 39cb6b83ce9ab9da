"""`cortex evaluate` as a user runs it, on a model that `cortex train` made."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest
from cortex_program import ROOT, cortex

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


NOWHERE = "redis://127.0.0.1:1"
CONTRACTED = ["n", "accuracy", "macro_f1", "ece", "per_master", "confusion", "baseline_rules"]


class Place:
    """A folder with lines to train and to evaluate on, a model, and a data directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.train, self.held = folder / "train.jsonl", folder / "held.jsonl"
        seen: dict[str, list[str]] = defaultdict(list)
        for line in (ROOT / "learning/seed/examples.jsonl").read_text("utf-8").splitlines():
            seen[json.loads(line)["label"]].append(line)
        self.masters = sorted(seen)
        self.train.write_text("\n".join(line for lines in seen.values() for line in lines[:40]))
        self.held.write_text("\n".join(line for lines in seen.values() for line in lines[40:60]))
        self.model = folder / "model"

    def run(self, *args: str, **more: str) -> subprocess.CompletedProcess[str]:
        more = {"CORTEX_DATA_DIR": str(self.folder / "data")} | more
        return cortex(NOWHERE, *args, cwd=self.folder, **more)

    def evaluate(self, *args: str, **more: str) -> dict:
        done = self.run("evaluate", *args, "--json", **more)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("\n") == 1
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    found = Place(tmp_path_factory.mktemp("evaluate"))
    done = found.run(
        *("train", "--no-background", "--data", str(found.train), "--output", str(found.model))
    )
    assert done.returncode == 0, done.stderr
    return found


def test_json_has_the_contracted_shape_and_agrees_with_itself(place: Place) -> None:
    found = place.evaluate("--model", str(place.model), "--data", str(place.held))
    assert [key for key in found if key in CONTRACTED] == CONTRACTED
    assert found["n"] == 100
    assert {*found["per_master"]} == {*found["confusion"]} == {*place.masters}
    right = sum(found["confusion"][name][name] for name in place.masters)
    assert found["accuracy"] == right / 100
    assert sum(sum(row.values()) for row in found["confusion"].values()) == 100
    assert found["accuracy"] > 0.6
    low, high = found["accuracy_interval"]
    assert low < found["accuracy"] < high
    assert 0 < found["baseline_rules"]["accuracy"] < 1
    assert found["latency_us"]["p50"] < 2_000
    assert len(found["wrong"]) == min(100 - right, 20)


def test_what_is_decided_in_the_end_is_what_cortex_route_decides(place: Place) -> None:
    lines = [json.loads(line) for line in place.held.read_text().splitlines()]
    tasks = place.folder / "tasks.jsonl"
    tasks.write_text(
        "\n".join(
            json.dumps({"task_id": f"t-{number}", "description": line["text"]})
            for number, line in enumerate(lines)
        )
    )
    routed = place.run(
        *("route", "--file", str(tasks), "--group", "treatment", "--json"),
        MODEL_PATH=str(place.model),
        ENABLE_RAG="false",
    )
    decided = [json.loads(line)["selected_master"] for line in routed.stdout.splitlines()]
    found = place.evaluate("--data", str(place.held), MODEL_PATH=str(place.model))
    right = sum(one == line["label"] for one, line in zip(decided, lines, strict=True))
    assert found["with_fallback"]["accuracy"] == right / 100


def test_the_rules_alone_are_the_baseline(place: Place) -> None:
    rules = place.evaluate("--model", "rules", "--data", str(place.held))
    beside = place.evaluate("--model", str(place.model), "--data", str(place.held))
    assert rules["accuracy"] == beside["baseline_rules"]["accuracy"]
    assert rules["macro_f1"] == beside["baseline_rules"]["macro_f1"]


def test_a_version_of_the_registry_can_be_evaluated_by_name(place: Place) -> None:
    version = place.run("model", "add", str(place.model)).stdout.strip()
    found = place.evaluate("--model", version, "--data", str(place.held), "--wrong", "0")
    assert found["model"] == version
    assert found["wrong"] == []


def test_a_report_is_written_and_a_summary_printed(place: Place) -> None:
    report = place.folder / "report.html"
    done = place.run(
        *("evaluate", "--model", str(place.model), "--data", str(place.held)),
        *("--train", str(place.train), "--report", str(report), "--wrong", "3"),
    )
    assert done.returncode == 0, done.stderr
    assert f"the report is in {report}" in done.stderr
    assert "of 100 lines are answered rightly" in done.stdout
    assert "security-master" in done.stdout
    page = report.read_text("utf-8")
    assert page.count("<blockquote>") == 3
    assert page.count("<dt>similar</dt>") == 9


def test_several_files_are_evaluated_as_one_and_oos_is_out_of_scope(place: Place) -> None:
    strange = place.folder / "strange.jsonl"
    texts = ("lovely weather for a picnic", "how tall is the Eiffel tower", "lol", "sing me a song")
    strange.write_text("\n".join(json.dumps({"text": text, "label": "oos"}) for text in texts))
    model = ("--model", str(place.model))
    found = place.evaluate(*model, "--data", str(place.held), "--data", str(strange))
    assert found["n"] == 104
    assert found["out_of_scope"]["n"] == 4
    assert found["out_of_scope"]["auroc"] > 0.7
    alone = place.evaluate(*model, "--data", str(place.held))
    assert found["out_of_scope"]["in_scope_accuracy"] == alone["accuracy"]
    assert found["ece"] == alone["ece"]


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (("--model", "nobody"), "there is no model 'nobody'"),
        (("--data", "nowhere.jsonl"), "cannot read nowhere.jsonl"),
        (("--report", "out.pdf"), "a report is written to a file in .html or .md"),
        (("--data", "model/config.json"), "model/config.json, line 1"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    place: Place, args: tuple[str, str], reason: str
) -> None:
    given = {"--model": str(place.model), "--data": str(place.held)} | dict([args])
    done = place.run("evaluate", *(each for pair in given.items() for each in pair))
    assert done.returncode == 1
    assert done.stdout == ""
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_damaged_model_is_refused(place: Place, tmp_path: Path) -> None:
    damaged = tmp_path / "model"
    damaged.mkdir()
    for file in place.model.iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    (damaged / "head.safetensors").write_bytes(b"x" * 100)
    done = place.run("evaluate", "--model", str(damaged), "--data", str(place.held))
    assert done.returncode == 1
    assert "head.safetensors" in done.stderr
