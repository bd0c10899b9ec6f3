"""Support vector machines on frozen features: the VOC07 protocols."""
