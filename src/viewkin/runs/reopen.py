"""Take up a run that was stopped: what may change and what may not, and what a run of other images would lose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from viewkin.data.dataset import Dataset
from viewkin.data.frozen_listing import Differences, FrozenListing, differences, read_listing
from viewkin.data.identity import fingerprint_of
from viewkin.data.source import Source
from viewkin.runs.images import open_training_images
from viewkin.runs.method_expression import with_method
from viewkin.runs.plan import LISTING, Plan
from viewkin.runs.resolve import Resolved, TrainRequest, fit_to_data, started
from viewkin.runs.run_settings import RunSettings, read_run_settings, rebuilt
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import announce
from viewkin.settings import read_assignment, setting_paths, with_text
from viewkin.training.checkpoint import has_checkpoint
from viewkin.training.config import Recipe
from viewkin.training.logs import read_metrics

FLAGS = (
    *("recipe", "method", "epochs", "batch_size", "backbone", "init", "image_size", "seed"),
    *("image_column", "label_column", "labels"),
)
"""Fields of a request that say what a run is."""


def settled(request: TrainRequest) -> TrainRequest:
    """Decide whether a request with ``auto_resume`` starts a run or goes on with one; others pass through.

    Raises:
        UserError: no ``--out``, or the run there was started with other settings than these.
    """
    if not request.auto_resume or request.resume:
        return request
    if request.out is None:
        raise UserError("--auto-resume needs --out DIR, the directory of the run to start or to go on with.")
    if not has_checkpoint(request.out):
        return request
    _check_same_settings(request, read_run_settings(request.out))
    mine = tuple(setting for setting in request.settings if _of_runtime(setting))
    return replace(request, resume=True, settings=mine, smoke=False, **dict.fromkeys(FLAGS))


def _check_same_settings(request: TrainRequest, stored: RunSettings) -> None:
    """Refuse a command that would start another run than the one that is there."""
    recipe, given = stored.recipe, request.flags
    if request.recipe is not None or request.method is not None:
        wanted, _ = started(request)
        given["name"] = (wanted if request.method is None else with_method(wanted, request.method)).name
    given |= dict(read_assignment(recipe, setting) for setting in request.settings if not _of_runtime(setting))
    there = setting_paths(recipe)
    different = next((path for path, value in given.items() if there[path] != value), None)
    if different is not None:
        what = "recipe" if different == "name" else different
        raise UserError(
            f"The run in {request.out} has {what} {there[different]!r} and this command {given[different]!r}; give the "
            "same settings, or another --out."
        )
    if request.smoke and not stored.smoke:
        raise UserError(f"The run in {request.out} is no smoke test; leave --smoke out, or give another --out.")


def _flag_of(field: str) -> str:
    """Name the flag of the command line that sets a field of a request."""
    return "--no-labels" if field == "labels" else f"--{field.replace('_', '-')}"


def _of_runtime(setting: str) -> bool:
    return setting.strip().startswith("runtime.")


def finished(request: TrainRequest) -> bool:
    """Whether a request would go on with a run that is complete: its last step is done and its report is written.

    Raises:
        UserError: there is no run, or the request would change it.
    """
    if not request.resume or request.out is None:
        return False
    out, stored = request.out, _with_changes(request, read_run_settings(request.out))
    if not all((out / name).is_file() for name in ("backbone.safetensors", "report.html")):
        return False
    schedule, log = stored.recipe.schedule, read_metrics(out / "metrics.jsonl")
    steps = stored.images // stored.recipe.data.batch_size * schedule.epochs * schedule.rounds
    return bool(log) and log[-1]["step"] >= steps


def reopened(request: TrainRequest) -> Plan:
    """Take up a stored run: its recipe decides; only ``runtime`` settings may change.

    Raises:
        UserError: no ``--out``, no run there, other images, or a setting that would change the result.
    """
    if request.out is None:
        raise UserError("--resume needs --out DIR, the directory of the run to go on with.")
    stored = _with_changes(request, read_run_settings(request.out))
    reading = stored.recipe.data.reading
    dataset = stored.images_from() if request.data == stored.data else Dataset.of(request.data, reading)
    source = open_training_images(dataset, stored.recipe, smoke=stored.smoke)
    notes = [f"Going on with {stored.recipe.name} in {request.out}."]
    changed = changed_images(request.out, stored, dataset, source)
    if changed is not None and not request.accept_changes:
        raise UserError(f"{changed}; name the same images, start a new run, or go on with these by --accept-changes.")
    if changed is not None:
        check_nothing_lost(stored.recipe, len(source), changed)
        notes.append(f"{changed}; the run goes on with the {len(source):,} images that are there (--accept-changes).")
    if not (request.out / LISTING).is_file():
        notes.append("The run keeps no list of its images, as older versions did not; their number alone was checked.")
    announce(*notes)
    return Plan(request.out, stored, dataset, source, tuple(notes), changed=changed is not None)


def _with_changes(request: TrainRequest, stored: RunSettings) -> RunSettings:
    """Put a request's ``runtime`` settings into a run's; refuse all that would change what is computed."""
    fixed = [_flag_of(name) for name in FLAGS if getattr(request, name) is not None]
    fixed += ["--smoke"] * (request.smoke and not stored.smoke)
    fixed += [f"--set {setting}" for setting in request.settings if not _of_runtime(setting)]
    if fixed:
        raise UserError(f"{fixed[0]} would change the run that is resumed; leave it out, or start a new run.")
    for setting in request.settings:
        stored = replace(stored, recipe=with_text(stored.recipe, setting))
    return stored


def changed_images(out: Path, stored: RunSettings, dataset: Dataset, source: Source) -> str | None:
    """Say how images differ from those a run was trained on, without a full stop; None where they do not."""
    if (out / LISTING).is_file():
        now = FrozenListing(list(source.keys), dataset.content_ids(stored.recipe.data.split, keys=source.keys))
        if fingerprint_of(zip(now.keys, now.content_ids)) == stored.fingerprint:
            return None  # whatever became of the list
        different: Differences = differences(read_listing(out / LISTING), now)
        if different:
            return f"The images of {dataset.name} are not those of the run: {different.sentence().rstrip('.')}"
    elif len(source) != stored.images:
        return f"The run was trained on {stored.images:,} images, not on the {len(source):,} of {dataset.name}"
    return None


def check_nothing_lost(recipe: Recipe, count: int, changed: str) -> None:
    """Refuse other images where the method keeps rows of its memory for each image, or a batch would not fit.

    Raises:
        UserError: what would be lost is named.
    """
    rows = rows_per_image(recipe, count)
    if rows:
        raise UserError(
            f"{changed}, and --accept-changes does not help: {recipe.method.kind} keeps rows for each image "
            f"({', '.join(rows)}), whose content would be lost; name the same images, or start a new run."
        )
    paths = frozenset(setting_paths(recipe))
    try:
        fit_to_data(Resolved(recipe, paths, (), smoke=False), count)
    except UserError as error:
        raise UserError(f"{changed}, and the run cannot go on with these: {error}") from error


def rows_per_image(recipe: Recipe, count: int) -> list[str]:
    """Name the parts of a method's memory that have rows for each image: those whose size depends on the number."""
    one, more = (rebuilt(recipe, number).state_dict() for number in (count, count + 1))
    return [name for name, value in one.items() if value.shape != more[name].shape]
