"""Which rows of a campaign were asked for, where they lie, and how far they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from viewkin.campaigns.campaign import Campaign, Edition, Row, chosen_rows
from viewkin.campaigns.catalogue import campaign_named
from viewkin.campaigns.measured import ended, epochs_done, place_of
from viewkin.runtime.errors import UserError, require


@dataclass(frozen=True, kw_only=True)
class ReproduceRequest:
    """Which campaign to reproduce, and which of its rows."""

    campaign: str | Campaign
    """Name in the catalogue, or a campaign."""
    budget: str | None = None
    """Name of a budget; None: the campaign's usual one."""
    data: str | None = None
    """Images; None: the usual place of the set."""
    results: Path | None = None
    """Folder of the table and of what is kept of each run; None: ``results/CAMPAIGN``."""
    runs: Path | None = None
    """Folder of the run directories; None: ``runs/CAMPAIGN``."""
    rows: tuple[str, ...] = ()
    """Rows; none: all."""
    priority: int | None = None
    """Leave out less urgent rows; None: none."""
    seeds: tuple[int, ...] = ()
    """Seeds; none: those that are planned."""
    jobs: int = 1
    """Runs side by side."""
    nice: int | None = None
    """How far the runs give way to other programs, 0 to 19; None: not at all."""


@dataclass(frozen=True)
class CampaignPlan:
    """What a request comes to."""

    campaign: Campaign
    """The campaign."""
    edition: Edition
    """Its rows under the budget."""
    results: Path
    """Folder of results."""
    runs: Path
    """Folder of run directories."""
    chosen: tuple[tuple[Row, int], ...]
    """Rows and seeds, in the order in which they are run."""
    command: str
    """Command that gives this plan, for the page."""

    @property
    def left(self) -> list[tuple[Row, int]]:
        """Rows and seeds that have not ended."""
        return [
            (row, seed) for row, seed in self.chosen if not ended(place_of(self.results, row.name, seed), self.edition)
        ]

    def state(self, row: Row, seed: int) -> str:
        """Say how far a row is: ``ended``, ``stopped at epoch 12`` or ``not run``."""
        if ended(place_of(self.results, row.name, seed), self.edition):
            return "ended"
        done = epochs_done(place_of(self.runs, row.name, seed))
        return f"begun, epoch {done:.0f}" if done else "not run"


def campaign_plan(request: ReproduceRequest) -> CampaignPlan:
    """Plan a campaign without touching anything.

    Raises:
        UserError: an unknown campaign, budget or row, or a number that makes no sense.
    """
    require(request.jobs >= 1, "--jobs", request.jobs, "at least 1")
    require(request.nice is None or 0 <= request.nice <= 19, "--nice", request.nice, "0 to 19")
    require(all(seed >= 0 for seed in request.seeds), "--seeds", request.seeds, "0 or more each")
    campaign = request.campaign if isinstance(request.campaign, Campaign) else campaign_named(request.campaign)
    edition = campaign.edition(request.budget)
    folder = campaign.folder(edition)
    budget = "" if edition == campaign.editions[0] else f" --budget {edition.budget.name}"
    return CampaignPlan(
        campaign=campaign,
        edition=edition,
        results=request.results or Path("results") / folder,
        runs=request.runs or Path("runs") / folder,
        chosen=tuple(chosen_rows(edition, request.rows, request.priority, request.seeds)),
        command=f"viewkin reproduce {campaign.name}{budget}",
    )


def words_in(texts: Iterable[str]) -> tuple[str, ...]:
    """Read "a,b" as a and b."""
    return tuple(word for text in texts for word in (part.strip() for part in text.split(",")) if word)


def numbers_in(option: str, text: str | None) -> tuple[int, ...]:
    """Read "0,1" as numbers; None gives none.

    Raises:
        UserError: something else.
    """
    words = words_in([] if text is None else [text])
    if not all(word.isascii() and word.isdecimal() for word in words):
        raise UserError(f"{option} is {text!r}; give whole numbers with commas between, such as 0,1.")
    return tuple(map(int, words))
