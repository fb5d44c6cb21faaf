"""What must not reach a log, a header or a metric: the secrets a URL can carry, and texts without end."""

import re
from typing import Final

# Where a URL's authority begins, also after the one slash of a mistyped one; then everything before the last @ of it.
# Without a look at the scheme: texts are hostile, and each pattern here passes over them once. (Possessive slashes, and
# an authority that ends at the next slash, so that no second attempt sees the same characters.)
_USERINFO: Final = re.compile(r"(:/++)[^/\s]*@")
# Queries, fragments and parameters, where signed URLs carry theirs. Quotes are legal in them, and a path may hold the
# spaces that a URL may not: hence anywhere behind the first URL, up to the next space.
_PARAMETERS: Final = re.compile(r"([?#;])\S+")
# How urllib3 names what it could not ask for: without the host, which stands apart from it.
_PATH_OF_URL: Final = "url: /"


def hide_url_secrets(text: str) -> str:
    """Replace the credentials and parameters of every URL in a text.

    Parameters
    ----------
    text : str
        Any text, such as an exception's. Takes time in proportion to its length, whatever it holds.

    Returns
    -------
    str
        The same with ``...`` for user information, and for what follows a ``?``, ``#`` or ``;`` up to the next space.
    """
    # Most texts are log lines without an address; looking for one would be half of a line's cost.
    begin = text.find(":/")
    path = text.find(_PATH_OF_URL)
    if 0 <= path < begin or begin < 0:
        begin = path
    if begin < 0:
        return text
    return text[:begin] + _PARAMETERS.sub(r"\1...", _USERINFO.sub(r"\1...@", text[begin:]))


def one_line(text: str) -> str:
    """Replace what would move the cursor of a terminal, colour it, or begin another line of a log.

    Parameters
    ----------
    text : str
        Any text, such as a key or a file name that others chose.

    Returns
    -------
    str
        As long, with a space for every character that is not printable.
    """
    return "".join(character if character.isprintable() else " " for character in text)


def shorten(text: str, most: int) -> str:
    """Cut the middle out of a text that is too long: errors name the culprit first and the place last.

    Parameters
    ----------
    text : str
        Any text.
    most : int
        Characters to keep, > 3.

    Returns
    -------
    str
        At most ``most`` characters.
    """
    if len(text) <= most:
        return text
    tail = most // 3
    return f"{text[: most - tail - 1]}…{text[-tail:]}"
