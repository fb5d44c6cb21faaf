"""What must not reach a log, a header or a metric: the secrets a URL can carry."""

import re
from typing import Final

# Credentials before the @, and the query, where signed URLs carry theirs.
_USERINFO: Final = re.compile(r"(?<=://)[^/\s@]*@")
_QUERY: Final = re.compile(r"(?<=\?)[^\s'\"<>]+")
_URL: Final = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>]+", re.IGNORECASE)


def hide_url_secrets(text: str) -> str:
    """Replace credentials and queries of every URL in a text.

    Parameters
    ----------
    text : str
        Any text, such as an exception's.

    Returns
    -------
    str
        The same with ``...`` where a URL had user information or a query.
    """
    if "://" not in text:
        # Most texts are log lines without an address; looking for one would be half of a line's cost.
        return text
    return _URL.sub(lambda url: _QUERY.sub("...", _USERINFO.sub("...@", url[0])), text)
