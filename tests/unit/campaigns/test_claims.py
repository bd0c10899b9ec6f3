"""Claims about verdicts: held, did not hold, cannot be told, each for the reason that it gives."""

import math

import pytest

from viewkin.campaigns.campaign import Observation
from viewkin.campaigns.claims import decide, summed

CLAIM = Observation(claim="The term helps", better="term", than="base", source="a paper, table 1")
TITLES = {"knn": "kNN", "linear": "linear probe"}


def values(gaps: dict[int, tuple[float, float]]) -> dict[str, dict[int, dict[str, float]]]:
    """Runs of both rows: seed to what the term adds in kNN and in the linear probe."""
    base = {seed: {"knn": 40.0, "linear": 50.0} for seed in gaps}
    term = {seed: {"knn": 40.0 + knn, "linear": 50.0 + linear} for seed, (knn, linear) in gaps.items()}
    return {"base": base, "term": term}


@pytest.mark.parametrize(
    ("gaps", "verdict"),
    [
        ({0: (3.0, 2.0), 1: (2.0, 1.5)}, "held"),
        ({0: (0.5, 2.0), 1: (2.0, 1.5)}, "held"),  # more than one point on average
        ({0: (1.0, 2.0), 1: (1.0, 1.5)}, "did not hold"),  # one point exactly
        ({0: (0.4, 2.0), 1: (0.2, 1.5)}, "did not hold"),
        ({0: (3.0, -2.0), 1: (2.0, -1.5)}, "did not hold"),
        ({0: (-3.0, -2.0), 1: (-2.0, -1.5)}, "did not hold"),
        ({0: (0.0, 2.0), 1: (0.0, 1.5)}, "did not hold"),
        ({0: (5.0, 2.0), 1: (-0.5, 1.5)}, "cannot be told"),
        ({0: (5.0, 2.0), 1: (-0.5, -1.5)}, "cannot be told"),
        ({0: (5.0, -2.0), 1: (-0.5, -1.5)}, "did not hold"),  # the linear probe speaks against it in every seed
        ({0: (3.0, 2.0), 1: (2.0, 1.5), 2: (-1.0, 2.0)}, "cannot be told"),
    ],
)
def test_a_claim_holds_by_the_sign_in_every_seed_and_more_than_a_point_in_every_measure(gaps, verdict):
    decision = decide(CLAIM, values(gaps), (0, 1), ("knn", "linear"), TITLES)
    assert decision.verdict == verdict
    assert ("sign differs" in decision.sentence) == (verdict == "cannot be told")
    assert "linear probe" in decision.sentence


def test_missing_runs_are_named_with_what_there_is_so_far():
    found = values({0: (3.0, 2.0), 1: (2.0, 1.5)})
    del found["term"][1]
    decision = decide(CLAIM, found, (0, 1), ("knn", "linear"), TITLES)
    assert decision.verdict == "cannot be told"
    assert decision.sentence.startswith("term was not run with seed 1; so far kNN +3.0 points")


def test_nothing_run_at_all_is_said_of_both_rows():
    decision = decide(CLAIM, {}, (0, 1), ("knn",), TITLES)
    assert decision.sentence == "base was not run with seeds 0 and 1, and term was not run with seeds 0 and 1"


def test_one_pair_of_runs_decides_nothing_but_shows_its_difference():
    decision = decide(CLAIM, values({0: (9.0, 9.0)}), (0,), ("knn", "linear"), TITLES)
    assert (decision.verdict, "one pair of runs" in decision.sentence) == ("cannot be told", True)
    assert "+9.0" in decision.sentence


def test_a_third_seed_that_only_one_row_has_is_passed_over():
    found = values({0: (3.0, 2.0), 1: (2.0, 1.5)})
    found["term"][2] = {"knn": 0.0, "linear": 0.0}
    assert decide(CLAIM, found, (0, 1), ("knn", "linear"), TITLES).verdict == "held"


@pytest.mark.parametrize("gap", [math.nan, math.inf])
def test_a_run_that_diverged_decides_nothing(gap):
    decision = decide(CLAIM, values({0: (gap, 2.0), 1: (2.0, 2.0)}), (0, 1), ("knn", "linear"), TITLES)
    assert (decision.verdict, "no number" in decision.sentence) == ("cannot be told", True)


def test_a_measure_that_was_not_taken_decides_nothing():
    decision = decide(CLAIM, values({0: (3.0, 2.0), 1: (2.0, 2.0)}), (0, 1), ("knn", "R@1"), TITLES)
    assert (decision.verdict, "missing" in decision.sentence) == ("cannot be told", True)


def test_a_claim_may_name_the_measures_that_decide_it():
    own = Observation(claim="", better="term", than="base", source="", measures=("linear",))
    found = values({0: (-3.0, 2.0), 1: (-2.0, 1.5)})
    assert decide(own, found, (0, 1), ("knn", "linear"), TITLES).verdict == "held"


def test_verdicts_are_counted():
    held = decide(CLAIM, values({0: (3.0, 2.0), 1: (2.0, 1.5)}), (0, 1), ("knn",), TITLES)
    unknown = decide(CLAIM, {}, (0, 1), ("knn",), TITLES)
    assert summed([held, unknown, unknown]) == "Of 3 claims: 1 held, 0 did not hold, 2 cannot be told."
