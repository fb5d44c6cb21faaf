"""Which hosts and addresses may be connected to: the list, and every disguise of a private address."""

from collections.abc import Sequence

import pytest

from consumer.errors import AudioLocationError, AudioStoreUnavailableError, Reason
from consumer.network_policy import address_allowed, addresses_allowed

PUBLIC = ["8.8.8.8", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
PRIVATE = [
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "127.0.0.1", "127.255.0.1", "100.64.0.1"),
    *("100.127.255.255", "::1", "fc00::1", "fd12:3456::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::10.0.0.1"),
    *("fd00:42::43", "fd00:ec1::254", "fd00:ec3::254"),
]
NEVER = [
    *("169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254", "168.63.129.16"),
    *("fd00:ec2::23", "fd00:ec2:ffff::1", "fd20:ce::254", "fd00:42::42"),
    *(
        "100.100.100.200",
        "192.0.0.192",
        "0.0.0.0",  # noqa: S104  # refused, not bound
        "0.1.2.3",
        "::",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
    ),
    *("255.255.255.255", "198.18.0.1", "192.0.2.1", "203.0.113.5", "192.88.99.1", "fe80::1", "fe80::1%eth0"),
    *("fec0::1", "ff02::1", "2001:db8::1", "2001::1", "2002:7f00:1::", "2002:0a00:1::", "64:ff9b:1::7f00:1"),
    *("::127.0.0.1", "::7f00:1", "3fff::1", "5f00::1", "100::1", "4000::1", "2606:4700::1111%lo", "not an address", ""),
    *("127.1", "0x7f000001", "2130706433", "0177.0.0.1"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_address_is_allowed(address: str) -> None:
    assert address_allowed(address, private=False)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_address_needs_the_opt_in(address: str) -> None:
    assert not address_allowed(address, private=False)
    assert address_allowed(address, private=True)


@pytest.mark.parametrize("address", NEVER)
def test_metadata_multicast_and_reserved_addresses_are_refused_even_with_the_opt_in(address: str) -> None:
    assert not address_allowed(address, private=False)
    assert not address_allowed(address, private=True)


def ask(
    host: str,
    port: int = 443,
    *,
    hosts: Sequence[str] = (),
    private_hosts: Sequence[str] = (),
    answer: Sequence[str] = ("8.8.8.8",),
) -> list[str]:
    scheme = "http" if port == 80 else "https"
    return addresses_allowed(
        scheme, host, port, hosts=hosts, private_hosts=private_hosts, resolve=lambda _host, _port: answer
    )


@pytest.mark.parametrize(
    ("rule", "host", "port"),
    [
        ("cdn.example.org", "cdn.example.org", 443),
        ("CDN.Example.org.", "cdn.example.org", 80),
        ("cdn.example.org:8443", "cdn.example.org", 8443),
        ("*.example.org", "a.b.example.org", 443),
        ("*", "anything.test", 443),
        ("[2606:4700::1111]:8443", "2606:4700::1111", 8443),
    ],
)
def test_listed_host_and_port_are_allowed(rule: str, host: str, port: int) -> None:
    assert ask(host, port, hosts=[rule]) == ["8.8.8.8"]


@pytest.mark.parametrize(
    ("rule", "host", "port"),
    [
        ("cdn.example.org", "evil.test", 443),
        ("cdn.example.org", "cdn.example.org", 8443),
        ("cdn.example.org", "cdn.example.org", 22),
        ("cdn.example.org:8443", "cdn.example.org", 443),
        ("cdn.example.org", "cdn.example.org.evil.test", 443),
        ("cdn.example.org", "xcdn.example.org", 443),
        ("*.example.org", "example.org", 443),
        ("*.example.org", "evilexample.org", 443),
        ("*", "anything.test", 6379),
        ("https://cdn.example.org/", "cdn.example.org", 443),
        ("", "", 443),
    ],
)
def test_other_host_or_port_is_forbidden_and_never_resolved(rule: str, host: str, port: int) -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise AssertionError("resolved")

    with pytest.raises(AudioLocationError) as caught:
        addresses_allowed("https", host, port, hosts=[rule], private_hosts=[], resolve=resolve)
    assert caught.value.reason is Reason.FORBIDDEN_HOST


@pytest.mark.parametrize("answer", [["10.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["169.254.169.254"], ["::ffff:127.0.0.1"]])
def test_listed_host_with_one_private_address_is_forbidden(answer: list[str]) -> None:
    with pytest.raises(AudioLocationError, match="not a public address"):
        ask("cdn.example.org", hosts=["*"], answer=answer)


def test_private_host_may_be_private_but_not_metadata() -> None:
    assert ask("store.lan", private_hosts=["store.lan"], answer=["10.0.0.1"]) == ["10.0.0.1"]
    with pytest.raises(AudioLocationError):
        ask("store.lan", private_hosts=["store.lan"], answer=["169.254.169.254"])


def test_name_that_does_not_resolve_may_be_tried_again() -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise OSError("Name or service not known")

    with pytest.raises(AudioStoreUnavailableError):
        addresses_allowed("https", "cdn.test", 443, hosts=["*"], private_hosts=[], resolve=resolve)
    with pytest.raises(AudioStoreUnavailableError):
        ask("cdn.test", hosts=["*"], answer=[])
