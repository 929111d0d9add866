"""Ed25519 signatures of the chain: the key that signs, and the public keys a verification trusts.

The private key comes from GENONAUT_SIGNING_KEY: the PEM itself, or the path of a file that only its owner can
read. The public key is kept beside the chain and told by its fingerprint, the SHA-256 of its 32 bytes.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from genonaut_lib.errors import InvalidInput, InvalidSettings
from genonaut_lib.runs.records.manifest import digest
from genonaut_lib.settings import SIGNING_KEY_VARIABLE, Settings

_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)
_MAKE = "Make one: openssl genpkey -algorithm ed25519 -out signing.pem && chmod 600 signing.pem"


@dataclass(frozen=True)
class SigningKey:
    """The key that signs records. Its text is never shown: the class has no representation of it."""

    private: Ed25519PrivateKey

    @property
    def public_pem(self) -> bytes:
        """The public half, as PEM."""
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def fingerprint(self) -> str:
        """What the public half is told by: its SHA-256, in hex."""
        return fingerprint(self.private.public_key())

    def sign(self, message: bytes) -> str:
        """Return the signature of a message, in base64."""
        return base64.b64encode(self.private.sign(message)).decode("ascii")


@dataclass(frozen=True)
class Trust:
    """Public keys by fingerprint. `given`: by whoever verifies, not only found beside the chain."""

    keys: dict[str, Ed25519PublicKey]
    given: bool = False

    def vouches(self, key: str, signature: str, message: bytes) -> bool:
        """Return whether the signature of a message is that of the key with this fingerprint."""
        try:
            self.keys[key].verify(base64.b64decode(signature, validate=True), message)
        except (InvalidSignature, binascii.Error, KeyError):
            return False
        return True


def fingerprint(key: Ed25519PublicKey) -> str:
    """Return what a public key is told by: the SHA-256 of its 32 bytes, in hex."""
    return digest(key.public_bytes_raw())


def signing_key(settings: Settings) -> SigningKey | None:
    """Return the key that is configured, None when none is; raise InvalidSettings for one that cannot be used."""
    if settings.signing_key is None:
        return None
    given = settings.signing_key.get_secret_value()
    # A variable in a unit file or a .env has no line breaks; "\n" stands for them there.
    pem = given.replace("\\n", "\n").encode() if "-----BEGIN" in given else _read(Path(given))
    try:
        found = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        # The error's own text is left out: it might repeat what was given.
        reason = "it is encrypted" if isinstance(error, TypeError) else "it is no private key in PEM"
        raise InvalidSettings(f"{SIGNING_KEY_VARIABLE} cannot be used: {reason}.", hint=_MAKE) from None
    if not isinstance(found, Ed25519PrivateKey):
        raise InvalidSettings(f"{SIGNING_KEY_VARIABLE} is not an Ed25519 key.", hint=_MAKE)
    return SigningKey(found)


def public_keys(pems: Iterable[bytes]) -> dict[str, Ed25519PublicKey]:
    """Return the Ed25519 public keys in PEM texts by fingerprint; what is no such key is passed over."""
    found = (key for pem in pems for text in _PEM.findall(pem) if (key := _public(text)) is not None)
    return {fingerprint(key): key for key in found}


def trust_in(file: Path) -> Trust:
    """Return the trust in the public keys of a PEM file; raise InvalidInput for a file that has none."""
    try:
        keys = public_keys([file.read_bytes()])
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}.") from None
    if not keys:
        hint = "openssl pkey -in signing.pem -pubout makes one; the chain's own lie in outputs/<env>/chain.keys."
        raise InvalidInput(f"{file} holds no Ed25519 public key in PEM.", hint=hint)
    return Trust(keys, given=True)


def _public(pem: bytes) -> Ed25519PublicKey | None:
    try:
        found = serialization.load_pem_public_key(pem)
    except ValueError:
        return None
    return found if isinstance(found, Ed25519PublicKey) else None


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            found = os.fstat(opened.fileno())
            if stat.S_IMODE(found.st_mode) & 0o077 or found.st_uid not in (os.geteuid(), 0):
                raise InvalidSettings(
                    f"The file of {SIGNING_KEY_VARIABLE} can be read by others than its owner, or is not yours.",
                    hint="chmod 600 it, as the user that runs the notebooks.",
                )
            return opened.read()
    except (OSError, ValueError) as error:
        # The path is not repeated: it might be a key without its first line.
        reason = error.strerror if isinstance(error, OSError) else "it is no path"
        raise InvalidSettings(f"{SIGNING_KEY_VARIABLE} cannot be read as a file: {reason}.", hint=_MAKE) from None
