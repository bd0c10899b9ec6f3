"""One module a layout of images on disk: folders, Parquet, archives, VOC; and the generated set."""
