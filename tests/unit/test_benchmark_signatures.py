"""The figures of the signatures benchmark."""

import json
from pathlib import Path

from benchmarks import signatures
from benchmarks.signatures import Judged, precision_and_recall


def pair(likeness: float, *, same: bool) -> Judged:
    return Judged("a", "b", "report", same, likeness)


def test_precision_and_recall_count_what_was_found() -> None:
    judged = [pair(0.9, same=True), pair(0.8, same=False), pair(0.1, same=True), pair(0.1, same=False)]
    assert precision_and_recall(judged) == (0.5, 0.5)
    assert precision_and_recall([pair(0.1, same=True)]) == (1.0, 0.0)


def test_the_targets_hold_and_the_figures_are_of_the_held_out_half(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    assert signatures.main(["--check", "--json", str(file)]) == 0
    figures = json.loads(file.read_text())
    held_out = [judged for judged in signatures.judge(signatures.read_labelled()) if judged.half == "report"]
    assert (figures["precision"], figures["recall"]) == precision_and_recall(held_out)
    assert figures["pairs"] == len(held_out)


def test_pairs_that_are_labelled_the_other_way_round_fall_short(tmp_path: Path) -> None:
    labelled = signatures.read_labelled()
    wrong = labelled.model_copy(update={"same": labelled.other, "other": labelled.same})
    file = tmp_path / "pairs.yaml"
    file.write_text(wrong.model_dump_json())  # JSON is YAML
    assert signatures.main(["--check", "--pairs", str(file)]) == 1
