"""Classifiers on frozen features: kNN, linear, MLP, every stage, several classes an image."""
