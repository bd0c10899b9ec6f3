"""Detection: boxes, a Faster R-CNN on a backbone, fine-tuning, average precision."""
