"""With which keys the service reads tokens, and where it does not start at all."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pydantic import SecretStr

from genonaut_lib.errors import InvalidSettings
from genonaut_lib.service.tokens import parse_uuid, tokens_of
from genonaut_lib.service_settings import ServiceSettings, TokenSettings
from genonaut_lib.settings import Settings

SECRET = "0123456789abcdef0123456789abcdef"
PRIVATE = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = PRIVATE) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def private_pem() -> str:
    return PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def settings(key: str | None, algorithm: str = "HS256", auth: str = "jwt", **others: object) -> Settings:
    knobs = TokenSettings.model_validate({"algorithm": algorithm})
    service = ServiceSettings.model_validate({"auth": auth, "jwt": knobs})
    given = {"environment": "lab", "service": service, "jwt_key": SecretStr(key) if key else None}
    return Settings.model_validate(given | others)


def test_fit_keys_are_taken() -> None:
    """A PEM key also with its line breaks spelled out, as many ways to set a variable need it."""
    assert tokens_of(settings(SECRET)) is not None
    for pem in (public_pem(), public_pem().replace("\n", "\\n")):
        assert tokens_of(settings(pem, "RS256")) is not None


UNFIT = [
    (None, "HS256", "no key"),
    (SECRET[1:], "HS256", "at least 32 bytes"),
    (public_pem(), "HS256", "PEM"),
    (SECRET, "RS256", "no public key"),
    (private_pem(), "RS256", "no public key"),
    (public_pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)), "RS256", "no RSA key of 2,048"),
    (public_pem(ec.generate_private_key(ec.SECP256R1())), "RS256", "no RSA key"),
]


@pytest.mark.parametrize(("key", "algorithm", "problem"), UNFIT, ids=[row[2] + row[1] for row in UNFIT])
def test_an_unfit_key_is_refused_without_repeating_it(key: str | None, algorithm: str, problem: str) -> None:
    """Before anything is served."""
    with pytest.raises(InvalidSettings, match=problem) as refused:
        tokens_of(settings(key, algorithm))
    assert not [line for line in (key or "").splitlines() if "-----" not in line and line in str(refused.value)]


@pytest.mark.parametrize("others", [{"protected": True}, {"environment": "production"}])
def test_a_protected_environment_does_not_believe_anybody(others: dict[str, object]) -> None:
    """A demo may."""
    assert tokens_of(settings(None, auth="none")) is None
    with pytest.raises(InvalidSettings, match="believes anybody"):
        tokens_of(settings(None, auth="none", **others))


@pytest.mark.parametrize(
    "text", ["", "ada", None, 7, "{6f1b1c1e-4a3f-4c53-8f3e-0d6d1c0f6a11}", "6f1b1c1e4a3f4c538f3e0d6d1c0f6a11"]
)
def test_an_id_has_one_form(text: object) -> None:
    """Two spellings of one user would be two keys of a cache."""
    assert parse_uuid(text) is None
