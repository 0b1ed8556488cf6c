"""Names and addresses that would write lines of their own into the container's files."""

from __future__ import annotations

from typing import Any

import pytest

from ketch.engine.containers.spec import ContainerSpec, EndpointSpec
from ketch.engine.spec import names as spec_names
from ketch.errors import InvalidParameter


@pytest.mark.parametrize(
    "asked",
    [
        {"hostname": "a b"}, {"hostname": "a\nb"}, {"hostname": "a\0"}, {"hostname": "x" * 65},
        {"domainname": "a\n"}, {"domainname": "\0"}, {"domainname": "é" * 33},
        {"dns": ("x",)}, {"dns": ("",)},
        {"dns": ("1.1.1.1\nsearch y",)}, {"dns_search": ("a\nnameserver 6.6.6.6",)},
        {"dns_search": ("",)}, {"dns_options": ("a\nb",)}, {"dns_options": ("a b",)},
        {"extra_hosts": ("a",)}, {"extra_hosts": ("a:",)}, {"extra_hosts": (":1.2.3.4",)},
        {"extra_hosts": ("a:b",)}, {"extra_hosts": ("a:\n1.2.3.4",)},
        {"endpoints": (EndpointSpec(network="n", ipv4="x"),)},
        {"endpoints": (EndpointSpec(network="n", ipv4="::1"),)},
        {"endpoints": (EndpointSpec(network="n", ipv6="1.2.3.4"),)},
        {"extra_hosts": ("a b:1.2.3.4",)}, {"extra_hosts": ("x:1.2.3.4\n6.6.6.6 y",)},
    ],
)  # fmt: skip
def test_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter):
        spec_names.check(ContainerSpec(image="x", **asked))


@pytest.mark.parametrize(
    "asked",
    [
        {}, {"hostname": "Web-1.example", "domainname": "example.org"}, {"hostname": "bücher"},
        {"hostname": "x" * 64, "endpoints": (EndpointSpec(network="n", ipv4="1.2.3.4"),)},
        {"dns": ("192.0.2.1", "2001:db8::1"), "dns_search": (".",), "dns_options": ("ndots:2",)},
        {"extra_hosts": ("a:192.0.2.1", "b:2001:db8::1", "c=[2001:db8::1]", "d:host-gateway",
                         "e_f.g=::1")},
    ],
)  # fmt: skip
def test_fine(asked: dict[str, Any]) -> None:
    spec_names.check(ContainerSpec(image="x", **asked))
