"""Networks: backbones, heads, normalisation, EMA copies, and files that hold a backbone."""
