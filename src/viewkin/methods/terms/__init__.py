"""Terms around a learner: one module each."""
