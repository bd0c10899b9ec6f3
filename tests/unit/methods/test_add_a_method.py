"""Claims about ``docs/add-a-method.md``: its learner stands under the laws, in few lines. See also the law book."""

from __future__ import annotations

import lawbook
from page_code import align, blocks, module
from viewkin.methods import catalogue
from viewkin.recipes.catalogue import recipe_named
from viewkin.runs.method_expression import with_method
from viewkin.settings import settings_from_dict, settings_to_dict
from viewkin.training.config import Recipe

METHOD, RECIPE, GOLDEN = blocks("add-a-method.md")


def test_the_learner_is_under_the_laws():
    assert lawbook.METHODS["align"].kind == "align"


def test_a_learner_takes_about_sixty_lines_of_code():
    lines = [line for line in METHOD.splitlines() if line.strip() and not line.strip().startswith(('"""', "#"))]
    assert len(lines) <= 62


def test_one_line_in_the_catalogue_makes_it_known_to_the_command_line_and_to_stored_recipes(monkeypatch):
    name = align().__name__
    config = catalogue.config_of(name)
    monkeypatch.setitem(catalogue.METHOD_CONFIGS, config.kind, config)
    recipe = with_method(recipe_named("photos"), "eir(align)")
    assert recipe.method.wrapped() == config()
    assert settings_from_dict(Recipe, settings_to_dict(recipe), catalogue.METHOD_CONFIGS) == recipe


def test_its_recipe_is_one():
    align()
    recipe = module("page.recipe", RECIPE).align_cifar10()
    assert (recipe.name, recipe.method.kind) == ("align_cifar10", "align")


def test_its_worked_value_holds():
    align()
    module("page.golden", GOLDEN).test_two_images_at_right_angles()
