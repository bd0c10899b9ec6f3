"""Claims about the campaigns as data: every row is a run that can start, and every claim names rows."""

from pathlib import Path

import pytest

from viewkin.campaigns.campaign import arguments_of, beside, chosen_rows, recipe_of, request_of
from viewkin.campaigns.catalogue import CAMPAIGNS, campaign_named
from viewkin.campaigns.measured import read_all
from viewkin.campaigns.published import printed_of_others
from viewkin.evaluation.protocols import PROTOCOLS, settings_of
from viewkin.runs.run_settings import rebuilt
from viewkin.runtime.errors import UserError

ROOT = Path(__file__).parents[3]
EDITIONS = [(campaign, edition) for campaign in CAMPAIGNS.values() for edition in campaign.editions]
NAMES = [f"{campaign.name}-{edition.budget.name}" for campaign, edition in EDITIONS]
MINI = CAMPAIGNS["mini"].editions[0]


@pytest.mark.parametrize(("campaign", "edition"), EDITIONS, ids=NAMES)
def test_every_row_of_every_campaign_and_budget_is_a_run_that_can_start(campaign, edition):
    """The recipe is resolved and checked as ``viewkin train`` does, for as many images as the set has."""
    for row in edition.rows:
        recipe = recipe_of(row, edition, seed=3)
        expected = row.epochs or edition.budget.epochs
        assert recipe.seed == 3
        assert expected is None or recipe.schedule.epochs == expected
        assert row.published is None or beside(row, edition), f"nothing is published for {row.published}"


@pytest.mark.parametrize(("campaign", "edition"), EDITIONS, ids=NAMES)
def test_names_columns_claims_and_evaluations_of_a_campaign_fit_together(campaign, edition):
    names = [row.name for row in edition.rows]
    assert len(names) == len(set(names))
    keys = {column.key for column in edition.columns}
    assert set(edition.deciding) <= keys
    assert all(set(claim.measures) <= keys for claim in campaign.observations)
    judged = {(one.protocol, one.features) for one in edition.evaluations}
    assert {(column.protocol, column.features) for column in edition.columns} <= judged
    for one in edition.evaluations:
        settings_of(PROTOCOLS[one.protocol], one.settings)
    files = [one.file for one in edition.evaluations]
    assert len(files) == len(set(files))


@pytest.mark.parametrize("campaign", CAMPAIGNS.values(), ids=lambda one: one.name)
def test_every_claim_is_of_rows_that_some_edition_has(campaign):
    decided = {claim for edition in campaign.editions for claim in campaign.claims(edition)}
    assert decided == set(campaign.observations)


@pytest.mark.parametrize("row", MINI.rows, ids=lambda row: row.name)
def test_every_row_of_mini_builds_its_method(row):
    recipe = recipe_of(row, MINI)
    assert recipe.schedule.epochs == 200
    assert recipe.data.batch_size == 128
    assert recipe.augment.side == (32 if row.name == "amdim" else 24)
    assert recipe.backbone.width == 16
    rebuilt(recipe, 10_000)


def test_no_two_rows_of_an_edition_are_the_same_training():
    for campaign, edition in EDITIONS:
        recipes = [recipe_of(row, edition) for row in edition.rows]
        same = [
            (one.name, other.name)
            for n, one in enumerate(edition.rows)
            for m, other in enumerate(edition.rows[:n])
            if recipes[n] == recipes[m] and one.epochs == other.epochs
        ]
        assert not same, (campaign.name, edition.budget.name)


def test_twelve_epochs_gives_slow_learners_a_second_row_of_twice_as_many():
    edition = CAMPAIGNS["twelve-epochs"].editions[0]
    epochs = {row.name: recipe_of(row, edition).schedule.epochs for row in edition.rows}
    assert {name for name, number in epochs.items() if number == 24} == {
        *("npid-24", "npidv2-24", "iraug-24", "byol-24"),
    }
    assert set(epochs.values()) == {12, 24}


def test_every_method_without_code_has_a_reason_and_the_numbers_that_its_table_prints():
    for campaign in CAMPAIGNS.values():
        for one in campaign.absent:
            assert one.why
            assert not one.row or printed_of_others(one.row), one.name
    assert [number.value for _, number in printed_of_others("method=Pseudo-label")] == [51.6, 82.4]


def test_the_published_number_beside_a_row_is_that_of_its_settings():
    shown = {row.name: dict(beside(row, MINI)) for row in MINI.rows}
    title = "CIFAR-10 kNN (200)"
    assert [shown[name][title].value for name in ("iraug", "eir-relation", "eir-mixture", "eir")] == [
        *(83.4, 86.3, 85.5, 87.6),
    ]
    assert list(shown["eir-relation"]) == [title], "its retrieval was not published"
    assert shown["eir-light"] == {}, "nothing is published for weight 3"


def test_the_first_seed_of_all_rows_comes_before_the_second_and_the_urgent_rows_first():
    chosen = chosen_rows(MINI)
    assert [seed for _, seed in chosen] == [0] * len(MINI.rows) + [1] * len(MINI.rows)
    priorities = [row.priority for row, seed in chosen if seed == 0]
    assert priorities == sorted(priorities)
    assert {row.priority for row, _ in chosen_rows(MINI, priority=1)} == {1}
    assert [(row.name, seed) for row, seed in chosen_rows(MINI, ["isif", "npid"], seeds=[5])] == [
        ("isif", 5),
        ("npid", 5),
    ]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: chosen_rows(MINI, ["simcrl"]), "There is no row 'simcrl'; there are iraug"),
        (lambda: chosen_rows(MINI, priority=0), "No row has priority 0 or less; there are 1, 2"),
        (lambda: campaign_named("minni"), "did you mean mini"),
        (lambda: CAMPAIGNS["mini"].edition("full"), "no budget 'full'; it has mini"),
    ],
)
def test_a_misspelt_name_is_told_in_one_sentence(call, words):
    with pytest.raises(UserError, match=words):
        call()


def test_a_rows_own_value_stands_before_the_budgets():
    row = MINI.row("amdim")
    arguments = arguments_of(request_of(row, MINI.budget, "images", seed=1, out=Path("out")))
    assert "augment.view_size=32" in arguments
    assert "augment.view_size=24" not in arguments
    assert arguments[arguments.index("--seed") + 1] == "1"


@pytest.mark.parametrize("name", ["mini", "twelve-epochs"])
def test_the_runs_that_are_kept_are_of_their_rows(name):
    """What an earlier version trained is told apart where its settings were others; here only a warm-up."""
    runs, faults = read_all(ROOT / "results" / name, CAMPAIGNS[name].editions[0])
    assert runs
    assert faults == []
    others = [other for run in runs for other in run.differing]
    assert all(other.startswith("schedule.warmup_epochs") for other in others)
    assert all(run.values for run in runs)
