"""The measures of a ranking, against values worked out by hand."""

import math

import pytest

from benchmarks.retrieval_scores import Answered, by_category, hit_at, ndcg_at, recall_at, reciprocal_rank, scores


def test_measures_of_one_ranking() -> None:
    ranked, right = ["a", "b", "c", "d"], {"b", "d", "z"}
    assert recall_at(2, ranked, right) == pytest.approx(1 / 3)
    assert recall_at(10, ranked, right) == pytest.approx(2 / 3)
    assert reciprocal_rank(ranked, right) == pytest.approx(1 / 2)
    assert reciprocal_rank(ranked, {"z"}) == 0
    assert (hit_at(1, ranked, right), hit_at(2, ranked, right)) == (0, 1)
    gained = 1 / math.log2(3) + 1 / math.log2(5)
    best = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg_at(10, ranked, right) == pytest.approx(gained / best)
    assert ndcg_at(10, ["b", "d", "z"], right) == pytest.approx(1)


def test_means_by_level_and_category() -> None:
    right = Answered("plain", ["m1"], {"m1"}, ["s1"], {"s1"})
    wrong = Answered("adversarial", ["m2"], {"m1"}, ["s2", "s1"], {"s1"})
    found = scores([right, wrong])
    assert found["message_r10"] == pytest.approx(0.5)
    assert found["session_r5"] == pytest.approx(1.0)
    assert found["session_mrr"] == pytest.approx(0.75)
    assert found["answerable_message_r10"] == pytest.approx(1.0)
    assert by_category([right, wrong, wrong])["adversarial"]["questions"] == 2
    assert scores([]) == {}
