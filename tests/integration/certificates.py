"""A certificate authority of the test's own, by the ``openssl`` command: broker and client certificates in PEM."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Identity:
    """A private key and its certificate, as PEM files.

    Parameters
    ----------
    key, certificate : Path
        PKCS #8 key and X.509 certificate.
    bundle : Path
        Both in one file, as Kafka's PEM key store wants them.
    """

    key: Path
    certificate: Path
    bundle: Path


class Authority:
    """Signs certificates that live as long as the test.

    Parameters
    ----------
    directory : Path
        Where keys and certificates are written.
    name : str
        The authority's common name; two authorities of different names do not trust each other.
    hosts : str
        What its certificates are valid for, as OpenSSL writes alternative names.
    """

    def __init__(
        self,
        directory: Path,
        name: str = "emotion-stream test authority",
        *,
        hosts: str = "DNS:localhost,IP:127.0.0.1",
    ) -> None:
        if shutil.which("openssl") is None:
            raise RuntimeError("no openssl on PATH to make certificates with")
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.certificate = directory / "authority.pem"
        self._hosts = hosts
        self._key = directory / "authority.key"
        _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                 "-keyout", str(self._key), "-out", str(self.certificate))  # fmt: skip

    def issue(self, name: str) -> Identity:
        """Issue a certificate for ``name``, valid for server and client alike."""
        key, request = self.directory / f"{name}.key", self.directory / f"{name}.csr"
        certificate, bundle = self.directory / f"{name}.pem", self.directory / f"{name}.bundle.pem"
        names = self.directory / f"{name}.ext"
        names.write_text(f"subjectAltName={self._hosts}\n")
        _openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
                 "-keyout", str(key), "-out", str(request))  # fmt: skip
        _openssl("x509", "-req", "-days", "2", "-in", str(request), "-extfile", str(names), "-out", str(certificate),
                 "-CA", str(self.certificate), "-CAkey", str(self._key), "-CAcreateserial")  # fmt: skip
        bundle.write_text(key.read_text() + certificate.read_text())
        return Identity(key, certificate, bundle)


def encrypted_key(identity: Identity, password: str) -> Path:
    """Write an identity's private key once more, encrypted (PKCS #8, AES-256)."""
    encrypted = identity.key.with_suffix(".encrypted.key")
    _openssl("pkcs8", "-topk8", "-v2", "aes-256-cbc", "-in", str(identity.key), "-out", str(encrypted),
             "-passout", f"pass:{password}")  # fmt: skip
    return encrypted


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
