"""The one exception a user ever sees."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager

from viewkin.runtime.wording import one_line


class UserError(Exception):
    """Bad input, told in one sentence that says what is wrong and what to do.

    The command line prints it as ``error: <sentence>`` and exits with ``exit_code``; nothing is left half-written.
    """

    exit_code = 2
    """Exit code of the process: 2, bad input."""

    def __str__(self) -> str:
        """Give the sentence on one line, whatever the names and values in it are."""
        return one_line(super().__str__())


def require(condition: bool, name: str, value: object, should: str) -> None:
    """Check a setting.

    Raises:
        UserError: the condition does not hold; "<name> is <value>; it must be <should>".
    """
    if not condition:
        raise UserError(f"{name} is {value!r}; it must be {should}.")


@contextmanager
def wrapped(path: str) -> Generator[None]:
    """Name the settings of a method inside others by their path: it says ``method.``, they are ``method.base.``.

    Args:
        path: where it stands, such as ``method.base.``; each ``base`` is a method around it.
    """
    try:
        yield
    except UserError as error:
        place = "method." + path.split(".").count("base") * "base."
        error.args = (re.sub(r"\bmethod\.(?=\w)", place, str(error)),)
        raise
