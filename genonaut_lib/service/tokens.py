"""Bearer tokens: signed JSON web tokens (RFC 7519), read by PyJWT under rules that no token can choose."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from genonaut_lib.errors import InvalidSettings
from genonaut_lib.request_errors import TokenRefused
from genonaut_lib.service_settings import KEY_VARIABLE, SHORTEST_SECRET, TokenSettings
from genonaut_lib.settings import Settings

LONGEST_TOKEN = 8_192
"""Characters; what is longer is refused unread."""

FEWEST_RSA_BITS = 2_048
_NEEDED = ["exp", "sub"]
_PEM = "-----BEGIN"

_REASONS: Mapping[type[jwt.PyJWTError], str] = {
    jwt.ExpiredSignatureError: "The token has expired.",
    jwt.ImmatureSignatureError: "The token is not valid yet.",
    jwt.InvalidAudienceError: "The token is for another audience.",
    jwt.InvalidIssuerError: "The token is from another issuer.",
    jwt.InvalidSignatureError: "The signature of the token does not fit.",
    jwt.InvalidAlgorithmError: "The token is signed by another algorithm than this service accepts.",
    jwt.MissingRequiredClaimError: "The token lacks a claim that it must have: exp, sub, or one that is set here.",
}
"""What is said of a token that is refused; nothing of the token is repeated."""


@dataclass(frozen=True)
class Bearer:
    """Who a token was given to."""

    subject: uuid.UUID
    is_admin: bool = False


@dataclass(frozen=True)
class Tokens:
    """Reads tokens with one key, by one algorithm."""

    settings: TokenSettings
    key: bytes | RSAPublicKey

    def read(self, token: str) -> Bearer:
        """Return who a token was given to; raise TokenRefused, saying why, for one that does not count."""
        claims = self._claims(token)
        subject = parse_uuid(claims["sub"])
        if subject is None:
            raise TokenRefused("The subject of the token is no user's id.", hint="Its claim `sub` must be a UUID.")
        return Bearer(subject, self.settings.admin_scope in _scopes(claims))

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > LONGEST_TOKEN:
            raise TokenRefused(f"The token has more than {LONGEST_TOKEN:,} characters.")
        knobs = self.settings
        try:
            return jwt.decode(
                token, self.key, algorithms=[knobs.algorithm], audience=knobs.audience, issuer=knobs.issuer,
                leeway=knobs.leeway_s, options={"require": _NEEDED},
            )  # fmt: skip
        except jwt.PyJWTError as error:
            reason = next((_REASONS[kind] for kind in type(error).__mro__ if kind in _REASONS), None)
            # PyJWT's own words may hold parts of the token, so neither they nor the chain of errors go on.
            raise TokenRefused(reason or "The token cannot be read.") from None


def tokens_of(settings: Settings) -> Tokens | None:
    """Return what reads the tokens of an environment, None where it has none.

    Raises InvalidSettings for a protected environment without tokens, and for a key that is missing or unfit.
    """
    if settings.service.auth == "none":
        if settings.protected or settings.environment == "production":
            problem = f"Environment {settings.environment!r} is protected, and `service.auth: none` believes anybody."
            raise InvalidSettings(problem, hint=f"Set service.auth to jwt, and {KEY_VARIABLE}.")
        return None
    if settings.jwt_key is None:
        hint = f"Set {KEY_VARIABLE} to the secret (HS256) or to the public key as PEM (RS256)."
        raise InvalidSettings("`service.auth: jwt` has no key to check tokens with.", hint=hint)
    key = settings.jwt_key.get_secret_value()
    knobs = settings.service.jwt
    return Tokens(knobs, _public_key(key) if knobs.algorithm == "RS256" else _secret(key))


def parse_uuid(text: object) -> uuid.UUID | None:
    """Return the UUID that a text is, in its usual form; None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        found = uuid.UUID(text)
    except ValueError:
        return None
    return found if str(found) == text.lower() else None


def _scopes(claims: Mapping[str, Any]) -> set[str]:
    """Return the words of `scope` and `scp`, each of which issuers write as one text or as a list."""
    given = [claims.get(name) for name in ("scope", "scp")]
    texts = [text for one in given for text in (one if isinstance(one, list) else [one]) if isinstance(text, str)]
    return {word for text in texts for word in text.split()}


def _secret(key: str) -> bytes:
    if key.lstrip().startswith(_PEM):
        # Signed with it by HS256, anybody's token would pass: a public key is no secret.
        raise InvalidSettings(f"{KEY_VARIABLE} holds a PEM key, which is no secret for HS256.", hint="Set RS256.")
    if len(key.encode()) < SHORTEST_SECRET:
        raise InvalidSettings(f"{KEY_VARIABLE} needs at least {SHORTEST_SECRET} bytes for HS256.")
    return key.encode()


def _public_key(key: str) -> RSAPublicKey:
    # Many ways to set a variable allow no line breaks; what stands for them in their place is well known.
    pem = key.replace("\\n", "\n").strip().encode()
    try:
        found = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidSettings(f"{KEY_VARIABLE} holds no public key as PEM, which RS256 needs.") from None
    if not isinstance(found, RSAPublicKey) or found.key_size < FEWEST_RSA_BITS:
        raise InvalidSettings(f"{KEY_VARIABLE} holds no RSA key of {FEWEST_RSA_BITS:,} bits or more.")
    return found
