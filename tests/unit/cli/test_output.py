"""Claims about text on the console."""

import io
import logging
import os
from dataclasses import replace

from rich.console import Console

from commandline import viewkin
from viewkin.campaigns.comparison import Line
from viewkin.campaigns.comparison_table import Lines
from viewkin.cli.output import say, show_comparison, show_evaluation
from viewkin.cli.terminal import shown
from viewkin.evaluation.results import Result, Results
from viewkin.runtime.tables import text_table


def test_a_path_that_is_no_utf8_is_printed_readably():
    stream = io.BytesIO()
    with io.TextIOWrapper(stream, encoding="utf-8") as file:
        say(Console(file=file), f"Images of {os.fsdecode(b'caf' + bytes([0xE9]))} and of café.")
        file.flush()
        assert stream.getvalue().decode() == "Images of caf\\udce9 and of café.\n"


EVIL = "\x1b[31mred\x1b]0;title\x07\r\n\u202etxt.jpg"


def text_of(show) -> str:
    stream = io.StringIO()
    show(Console(file=stream, width=300))
    return stream.getvalue()


def test_no_control_character_of_a_name_reaches_a_terminal():
    result = Result(protocol="knn", values={EVIL: 50.0}, model=EVIL, data=EVIL, notes=(EVIL,))
    line = Line((EVIL,), EVIL, "knn", EVIL, EVIL, 1.0, None, (0,), EVIL, EVIL, EVIL, EVIL)
    shown = text_of(lambda console: show_evaluation(console, "knn", [result]))
    shown += text_of(lambda console: show_comparison(console, [line]))
    detection = replace(result, values={f"AP {EVIL}": 1.0}, settings={"rule": EVIL})
    shown += text_of(lambda console: show_evaluation(console, "detection", [detection]))
    shown += repr(Results([result])) + repr(Lines([line])) + text_table([EVIL], [[EVIL]])
    assert not set(shown) & set("\x1b\x07\r\u202e")
    assert "\\x1b[31mred" in shown


def test_what_the_library_logs_is_one_line_without_control_characters(capfd):
    with shown():
        logging.getLogger("viewkin.data").warning("%s can no longer be read", EVIL)
    logged = capfd.readouterr().err
    assert logged.count("\n") == 1
    assert "\x1b" not in logged


def test_a_refused_option_is_told_without_control_characters():
    done = viewkin("embed", f"--{EVIL}")
    assert done.code == 2
    assert "\x1b" not in done.err
