"""What the daemon does not read as it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import json, os
from ketch.daemon import lean_imports
lean_imports.import_aiohttp()
from aiohttp import connector
found = connector._SSL_CONTEXT_VERIFIED.cert_store_stats()
print(json.dumps([found["x509"], os.environ.get("SSL_CERT_FILE")]))
"""


@pytest.mark.parametrize("own", [None, "/somewhere/authorities.pem"])
def test_no_authorities_are_read_and_the_variable_is_what_it_was(own: str | None) -> None:
    env = {key: value for key, value in os.environ.items() if key != "SSL_CERT_FILE"}
    if own:
        env["SSL_CERT_FILE"] = own
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=env, capture_output=True, check=True, timeout=60
    )
    assert json.loads(done.stdout) == [0, own]
