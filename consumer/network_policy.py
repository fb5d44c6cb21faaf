"""Where audio may be downloaded from: which hosts, which ports, which addresses.

An event's ``audio_uri`` is written by someone else, and this worker sits inside a network. So the host must be on the
list, its port must be the scheme's own or the listed one, and every address it resolves to must be public, unless the
host is listed as private (CWE-918, server-side request forgery).
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from consumer.errors import AudioLocationError, AudioStoreUnavailableError, Reason

Address = IPv4Address | IPv6Address
Resolver = Callable[[str, int], Sequence[str]]

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_RULE: Final = re.compile(r"(?P<host>\[[^\]]+\]|[^:\[\]]+)(?::(?P<port>\d+))?")

# Written out because ``ipaddress.is_global`` differs between Python versions and knows no cloud's metadata service.
# Sources: IANA's IPv4 and IPv6 special-purpose address registries (RFC 6890 and its updates).
_NEVER: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            *("0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15"),
            *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
            *("100.100.100.200/32", "168.63.129.16/32"),  # Alibaba's and Azure's metadata services
            *("::/128", "fe80::/10", "fec0::/10", "ff00::/8", "100::/64", "64:ff9b:1::/48"),
            *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16"),
            # Metadata services: Amazon's prefix (EKS gives a pod its credentials at ::23), Google's and Scaleway's.
            *("fd00:ec2::/32", "fd20:ce::254/128", "fd00:42::42/128"),
        ),
    )
)
_PRIVATE: Final = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"),
    )
)
_PUBLIC_IPV6: Final = ipaddress.IPv6Network("2000::/3")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def resolve_host(host: str, port: int) -> list[str]:
    """Ask the system for a host's addresses.

    Parameters
    ----------
    host : str
        Name or address.
    port : int
        Port, for the resolver's sake.

    Returns
    -------
    list of str
        Addresses in the system's order of preference.

    Raises
    ------
    OSError
        If the name does not resolve.
    """
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def addresses_allowed(
    scheme: str, host: str, port: int, *, hosts: Sequence[str], private_hosts: Sequence[str], resolve: Resolver
) -> list[str]:
    """Resolve a host once and give the addresses that may be connected to.

    Parameters
    ----------
    scheme : {'http', 'https'}
        Of the URL.
    host : str
        Lower-case name or address, without brackets or final dot.
    port : int
        Of the URL, or the scheme's own.
    hosts, private_hosts : sequence of str
        ``EMOTION_ALLOWED_HOSTS`` and ``EMOTION_ALLOWED_PRIVATE_HOSTS``.
    resolve : callable
        Gives a host's addresses; asked exactly once.

    Returns
    -------
    list of str
        At least one address; connect to these, never to the name again.

    Raises
    ------
    AudioLocationError
        With reason ``forbidden_host`` if host, port or any address is not allowed.
    AudioStoreUnavailableError
        If the name does not resolve now.
    """
    private = any(_matches(rule, scheme, host, port) for rule in private_hosts)
    if not private and not any(_matches(rule, scheme, host, port) for rule in hosts):
        raise _forbidden(f"{host}:{port} is not among EMOTION_ALLOWED_HOSTS")
    try:
        found = list(dict.fromkeys(resolve(host, port)))
    except (OSError, UnicodeError) as error:
        raise AudioStoreUnavailableError(f"cannot resolve {host}: {error}") from error
    if not found:
        raise AudioStoreUnavailableError(f"{host} has no address")
    for text in found:
        # One bad address condemns the answer: a name that mixes them is an attempt, not a configuration.
        if not address_allowed(text, private=private):
            raise _forbidden(f"{host} resolves to {text}, which is not a public address")
    return found


def address_allowed(text: str, *, private: bool) -> bool:
    """Say whether an address may be connected to.

    Parameters
    ----------
    text : str
        An address as the resolver gave it.
    private : bool
        Whether private and loopback addresses are wanted. Link-local, multicast, reserved and metadata addresses are
        refused even then.

    Returns
    -------
    bool
        False also for what is no address or is bound to an interface (``%eth0``).
    """
    try:
        address = _unwrap(ipaddress.ip_address(text))
    except ValueError:
        return False
    if any(address in network for network in _NEVER) or getattr(address, "scope_id", None):
        return False
    if any(address in network for network in _PRIVATE):
        return private
    return isinstance(address, IPv4Address) or address in _PUBLIC_IPV6


def _unwrap(address: Address) -> Address:
    # An IPv4 address in IPv6 clothes reaches the IPv4 host: judge that one.
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _matches(rule: str, scheme: str, host: str, port: int) -> bool:
    parsed = _RULE.fullmatch(rule.strip().lower())
    if parsed is None:
        return False
    wanted = int(parsed["port"]) if parsed["port"] else DEFAULT_PORTS[scheme]
    name = parsed["host"].strip("[]").removesuffix(".")
    if port != wanted:
        return False
    if name.startswith("*."):
        return host.endswith(name[1:]) and len(host) > len(name) - 1
    return name in ("*", host)


def _forbidden(message: str) -> AudioLocationError:
    return AudioLocationError(message, reason=Reason.FORBIDDEN_HOST)
