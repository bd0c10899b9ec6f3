"""The local web page of a collection: its map, neighbours, lists and marks."""
