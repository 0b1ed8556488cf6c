"""A certificate authority of the tests' own."""

from __future__ import annotations

import subprocess
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=60)


def make_authority(folder: Path) -> None:
    """``ca.pem`` and ``ca.key``."""
    folder.mkdir(parents=True, exist_ok=True)
    _openssl(
        folder, "req", "-x509", *_KEY, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=tests"
    )


def sign(folder: Path, prefix: str = "", names: str = "DNS:localhost,IP:127.0.0.1") -> None:
    """``<prefix>cert.pem`` and ``<prefix>key.pem``, good for both sides of a connection."""
    _openssl(
        folder,
        "req",
        *_KEY,
        "-keyout",
        f"{prefix}key.pem",
        "-out",
        f"{prefix}csr",
        "-subj",
        "/CN=x",
    )
    (folder / "ext").write_text(f"subjectAltName={names}\n")
    _openssl(
        folder, "x509", "-req", "-in", f"{prefix}csr", "-CA", "ca.pem", "-CAkey", "ca.key",
        "-CAcreateserial", "-out", f"{prefix}cert.pem", "-extfile", "ext", "-days", "2",
    )  # fmt: skip
