"""Classifiers on frozen features: kNN, linear, MLP, one per stage, multi-label."""
