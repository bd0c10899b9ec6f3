"""Recipes: one function per run that a paper or this project reports."""
