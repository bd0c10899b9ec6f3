"""Claims about text on the console."""

import io
import os

from rich.console import Console

from viewkin.cli.output import say


def test_a_path_that_is_no_utf8_is_printed_readably():
    stream = io.BytesIO()
    with io.TextIOWrapper(stream, encoding="utf-8") as file:
        say(Console(file=file), f"Images of {os.fsdecode(b'caf' + bytes([0xE9]))} and of café.")
        file.flush()
        assert stream.getvalue().decode() == "Images of caf\\udce9 and of café.\n"
