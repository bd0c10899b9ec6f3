"""The one exception a user ever sees."""

from __future__ import annotations

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


class SettingError(UserError):
    """A setting has a value that it cannot have.

    It is raised with the setting's name as its owner knows it (``temperature``). Whoever holds the owner puts the
    owner's place in front by :func:`inside` (``method.base.temperature``).
    """

    def __init__(self, name: str, value: object, should: str) -> None:
        """Describe the fault.

        Args:
            name: of the setting, relative to its owner.
            value: that it has.
            should: what it must be, to follow "it must be"; ``{here}`` stands before the names of other settings of
                the same owner, and becomes their place.
        """
        super().__init__(name, value, should)
        self.name, self.value, self.should = name, value, should
        self.place = ""

    def __str__(self) -> str:
        """Give the sentence: "<place><name> is <value>; it must be <should>"."""
        should = self.should.replace("{here}", self.place)
        return one_line(f"{self.place}{self.name} is {self.value!r}; it must be {should}.")


def require(condition: bool, name: str, value: object, should: str) -> None:
    """Check a setting.

    Raises:
        SettingError: the condition does not hold.
    """
    if not condition:
        raise SettingError(name, value, should)


@contextmanager
def inside(place: str) -> Generator[None]:
    """Name the settings of an owner by their paths from outside of it.

    Args:
        place: of the owner, such as ``method.base``; empty for none.
    """
    try:
        yield
    except SettingError as error:
        error.place = f"{place.rstrip('.')}.{error.place}" if place else error.place
        raise
