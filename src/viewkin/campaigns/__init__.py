"""The papers' tables: published numbers, and runs beside them."""
