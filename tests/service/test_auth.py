"""Who may, by bearer tokens: whose they are, which count, and what nobody without one gets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from genonaut_lib.db import engine
from genonaut_lib.settings import Settings, project_root
from tests.factories import Gallery
from tests.service.served import Served, serve
from tests.unit.test_tokens import private_pem, public_pem
from tests.writing import LEAST, before_cut_over, copied

SECRET = "a secret of more than thirty-two bytes"
OURS = {"aud": "gallery", "iss": "https://issuer.example"}
JWT = {"GENONAUT_SERVICE__AUTH": "jwt"}
HS256 = JWT | {
    "GENONAUT_JWT_KEY": SECRET,
    "GENONAUT_SERVICE__JWT__AUDIENCE": OURS["aud"],
    "GENONAUT_SERVICE__JWT__ISSUER": OURS["iss"],
}
RS256 = JWT | {
    "GENONAUT_JWT_KEY": public_pem(),
    "GENONAUT_SERVICE__JWT__ALGORITHM": "RS256",
    "GENONAUT_SERVICE__ANONYMOUS": "false",
}


@pytest.fixture(scope="module")
def database(admin_url: str) -> Iterator[Settings]:
    with before_cut_over(admin_url) as name, copied(admin_url, name, cut_over=False) as settings:
        yield settings


@pytest.fixture(scope="module")
def service(database: Settings) -> Iterator[Served]:
    """The service with tokens by HS256 for one audience from one issuer; who has none sees what is public."""
    with serve(database, **HS256) as served:
        yield served


@pytest.fixture(scope="module")
def closed(database: Settings) -> Iterator[Served]:
    """The service with tokens by RS256, which everybody needs."""
    with serve(database, **RS256) as served:
        yield served


@pytest.fixture(scope="module")
def users(database: Settings) -> dict[str, str]:
    with closing(engine.connect(database)) as connection:
        return {name: str(Gallery(connection).user(name)) for name in ("ada", "grace", "root")}


def token(subject: str, key: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    """Sign claims; those given as None are left out."""
    given = OURS | {"sub": subject, "exp": int(time.time()) + 60} | claims
    kept = {name: value for name, value in given.items() if value is not None}
    return jwt.encode(kept, key, algorithm)


def forged(header: dict[str, Any], claims: dict[str, Any], key: bytes | None) -> str:
    """Write a token by hand, as no library would; without a key it has no signature."""
    parts = [base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=") for one in (header, claims)]
    signed = b".".join(parts)
    signature = b"" if key is None else hmac.digest(key, signed, hashlib.sha256)
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def bearing(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def refusal(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, body["code"]


def tampered(text: str) -> str:
    """Return a token whose claims are another's, under its own signature."""
    head, claims, signature = text.split(".")
    given = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4))) | {"scope": "gallery:admin"}
    return ".".join((head, base64.urlsafe_b64encode(json.dumps(given).encode()).rstrip(b"=").decode(), signature))


NOW = int(time.time())
LASTING = {"exp": NOW + 86_400}
REFUSED: dict[str, tuple[Callable[[str], str], str]] = {
    "expired": (lambda ada: token(ada, exp=NOW - 10), "expired"),
    "not yet": (lambda ada: token(ada, nbf=NOW + 86_400), "not valid yet"),
    "issued in future": (lambda ada: token(ada, iat=NOW + 86_400), "not valid yet"),
    "other audience": (lambda ada: token(ada, aud="shop"), "another audience"),
    "no audience": (lambda ada: token(ada, aud=None), "lacks a claim"),
    "other issuer": (lambda ada: token(ada, iss="https://elsewhere.example"), "another issuer"),
    "no end": (lambda ada: token(ada, exp=None), "lacks a claim"),
    "no subject": (lambda ada: token(ada, sub=None), "lacks a claim"),
    "subject no UUID": (lambda ada: token("ada"), "no user's id"),
    "subject empty": (lambda ada: token(""), "no user's id"),
    "subject a number": (lambda ada: forged({"alg": "HS256"}, OURS | LASTING | {"sub": 7}, SECRET.encode()), "cannot"),
    "end no number": (lambda ada: token(ada, exp="soon"), "cannot be read"),
    "end infinite": (lambda ada: token(ada, exp=float("inf")), "cannot be read"),
    "other secret": (lambda ada: token(ada, key="another secret of thirty-two bytes"), "signature"),
    "other claims": (lambda ada: tampered(token(ada)), "signature"),
    "alg none": (lambda ada: forged({"alg": "none"}, OURS | LASTING | {"sub": ada}, None), "another algorithm"),
    "alg None": (lambda ada: forged({"alg": "None"}, OURS | LASTING | {"sub": ada}, None), "another algorithm"),
    "no alg": (lambda ada: forged({}, OURS | LASTING | {"sub": ada}, SECRET.encode()), "another algorithm"),
    "HS384": (lambda ada: token(ada, key=SECRET * 2, algorithm="HS384"), "another algorithm"),
    "RS256": (lambda ada: token(ada, key=private_pem(), algorithm="RS256"), "another algorithm"),
    "unknown crit": (
        lambda ada: forged({"alg": "HS256", "crit": ["x"], "x": 1}, OURS | LASTING | {"sub": ada}, SECRET.encode()),
        "cannot be read",
    ),
    "claims no object": (lambda ada: forged({"alg": "HS256"}, [1], SECRET.encode()), "cannot be read"),  # type: ignore[arg-type]
    "deep": (lambda ada: base64.urlsafe_b64encode(b"[" * 5_000).decode().rstrip("=") + ".e30.x", "cannot be read"),
    "huge": (lambda ada: token(ada, filler="x" * 9_000), "8,192 characters"),
    "garbage": (lambda ada: "garbage", "cannot be read"),
    "dots": (lambda ada: "..", "cannot be read"),
    "two words": (lambda ada: f"{token(ada)} {token(ada)}", "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "why"), REFUSED.values(), ids=list(REFUSED))
def test_a_token_that_does_not_count_is_refused_with_its_reason(
    make: Callable[[str], str], why: str, service: Served, users: dict[str, str]
) -> None:
    """Always 401, also where nobody in particular would be answered; nothing of it is repeated or logged."""
    text = make(users["ada"])
    answers = [
        service.client.get("/content/unified", headers=bearing(text)),
        service.client.get("/content/unified", headers=bearing(text), params={"user_id": "x", "page_size": "x"}),
        service.client.post("/content", headers=bearing(text), json=LEAST),
    ]
    assert {refusal(answer) for answer in answers} == {(401, "token_refused")}
    assert all(why in answer.json()["detail"] for answer in answers)
    assert all('error="invalid_token"' in answer.headers["www-authenticate"] for answer in answers)
    secrets = [part for part in text.split(".") if len(part) > 12]
    said = [*(answer.text for answer in answers), service.log_path.read_text()]
    assert not [part for part in secrets for where in said if part in where]


@pytest.mark.parametrize("value", ["Basic YWRhOnNlY3JldA==", "Bearer", "bearer=x", "token x", ""])
def test_what_is_no_bearer_token_is_refused(value: str, service: Served) -> None:
    """It is not passed over: who sends it means to be somebody."""
    assert refusal(service.client.get("/content/unified", headers={"Authorization": value})) == (401, "token_refused")


def test_two_tokens_are_one_too_many(service: Served, users: dict[str, str]) -> None:
    """Two readers of such a request might each take another one."""
    headers = [("Authorization", f"Bearer {token(users[name])}") for name in ("ada", "grace")]
    assert refusal(service.client.get("/content/unified", headers=headers)) == (401, "token_refused")


@pytest.fixture(scope="module")
def private(service: Served, users: dict[str, str]) -> str:
    """The path of a private item of Ada's."""
    body = LEAST | {"is_private": True, "tags": ["landscape"], "title": "hidden"}
    answer = service.client.post("/content", headers=bearing(token(users["ada"])), json=body)
    assert answer.status_code == 201, answer.text
    return answer.headers["location"].removeprefix("/api/v1")


def seen(served: Served, **request: Any) -> int:
    """Return how many items of everybody's somebody sees."""
    params = {"count": "exact"} | request.pop("params", {})
    answer = served.client.get("/content/unified", params=params, **request)
    assert answer.status_code == 200, answer.text
    return answer.json()["pagination"]["total_count"]


def test_the_viewer_is_the_subject(service: Served, users: dict[str, str], private: str) -> None:
    """Ada sees one item more than others do, in pages and totals; it is not there for an admin either."""
    others = [{}, bearing(token(users["grace"])), bearing(token(users["root"], scope="gallery:admin"))]
    public = [seen(service, headers=headers) for headers in others]
    assert [seen(service, headers=bearing(token(users["ada"])))] == [public[0] + 1]
    assert len(set(public)) == 1
    assert [service.client.get(private, headers=headers).status_code for headers in others] == [404] * 3
    assert service.client.get(private, headers=bearing(token(users["ada"]))).json()["title"] == "hidden"


def test_user_id_says_nothing_that_the_token_does_not(service: Served, users: dict[str, str], private: str) -> None:
    """One's own is fine, another's is refused, and without a token any."""
    mine, theirs = {"user_id": users["ada"]}, {"user_id": users["grace"]}
    headers = bearing(token(users["ada"]))
    assert service.client.get(private, headers=headers, params=mine).status_code == 200
    for path in (private, "/content/unified"):
        other = service.client.get(path, headers=headers, params=theirs)
        assert (refusal(other), other.json()["field"]) == ((403, "forbidden"), "user_id")
        assert refusal(service.client.get(path, params=mine)) == (401, "unauthenticated")
        wrong = service.client.get(path, headers=headers, params={"user_id": "ada"})
        assert (refusal(wrong), wrong.json()["field"]) == ((400, "invalid_value"), "user_id")


def test_nobody_in_particular_reads_and_does_not_write(service: Served, private: str) -> None:
    """Writes without a token are asked for one."""
    asked = [("POST", "/content"), ("PUT", private), ("DELETE", private)]
    answers = [service.client.request(method, path, json=LEAST) for method, path in asked]
    assert {refusal(answer) for answer in answers} == {(401, "unauthenticated")}
    assert {answer.headers["www-authenticate"] for answer in answers} == {'Bearer realm="genonaut"'}


@pytest.mark.parametrize(
    "claims", [{"scope": "openid gallery:admin"}, {"scp": ["gallery:admin"]}, {"scp": "gallery:admin x"}]
)
def test_an_admin_writes_what_is_another_s(claims: dict[str, Any], service: Served, users: dict[str, str]) -> None:
    """And makes items for them. What is private is written without being shown."""
    ada, admin = bearing(token(users["ada"])), bearing(token(users["root"], **claims))
    made = service.client.post("/content", headers=admin, json=LEAST | {"creator_id": users["ada"]})
    path = made.headers["location"].removeprefix("/api/v1")
    assert (made.status_code, made.json()["creator_username"]) == (201, "ada")
    assert service.client.put(path, headers=admin, json={"title": "moderated"}).json()["title"] == "moderated"
    hidden = service.client.put(path, headers=admin, json={"is_private": True})
    assert (hidden.status_code, hidden.content) == (204, b"")
    assert service.client.get(path, headers=ada).json()["title"] == "moderated"
    assert service.client.delete(path, headers=admin).status_code == 204


def test_only_an_admin_is_shown_plans(service: Served, users: dict[str, str]) -> None:
    """Plans tell of items that nobody else may see: 401 without a token, 403 with anybody's."""
    answers = [
        service.client.get("/admin/explain", headers=headers)
        for headers in ({}, bearing(token(users["ada"])), bearing(token(users["root"], scope="gallery:admin")))
    ]
    assert [answer.status_code for answer in answers] == [401, 403, 200]


@pytest.mark.parametrize("scope", ["gallery:administrator", "admin", "GALLERY:ADMIN", ["x"], 7, {"gallery:admin": 1}])
def test_other_scopes_make_no_admin(scope: Any, service: Served, users: dict[str, str]) -> None:
    """Nor do parts of the word."""
    path = service.client.post("/content", headers=bearing(token(users["ada"])), json=LEAST).headers["location"]
    headers = bearing(token(users["grace"], scope=scope))
    assert refusal(service.client.delete(path.removeprefix("/api/v1"), headers=headers)) == (403, "forbidden")


def signed(subject: str, **claims: Any) -> str:
    """Sign by RS256 for the closed service, which has no audience and no issuer."""
    return token(subject, private_pem(), "RS256", **{"aud": None, "iss": None} | claims)


def test_rs256_is_read_with_the_public_key(closed: Served, users: dict[str, str]) -> None:
    """Its subject is the viewer there as well."""
    assert seen(closed, headers=bearing(signed(users["grace"]))) > 0


CONFUSED: dict[str, Callable[[str], str]] = {
    "public key as secret": lambda ada: forged(
        {"alg": "HS256", "typ": "JWT"}, LASTING | {"sub": ada}, public_pem().encode()
    ),
    "public key stripped": lambda ada: forged(
        {"alg": "HS256", "typ": "JWT"}, LASTING | {"sub": ada}, public_pem().strip().encode()
    ),
    "secret": lambda ada: token(ada, aud=None, iss=None),
    "PS256": lambda ada: token(ada, private_pem(), "PS256", aud=None, iss=None),
    "RS512": lambda ada: token(ada, private_pem(), "RS512", aud=None, iss=None),
    "alg none": lambda ada: forged({"alg": "none"}, LASTING | {"sub": ada}, None),
}


@pytest.mark.parametrize("make", CONFUSED.values(), ids=list(CONFUSED))
def test_a_token_does_not_choose_its_algorithm(
    make: Callable[[str], str], closed: Served, users: dict[str, str]
) -> None:
    """Whoever knows the public key is nobody's subject."""
    answer = closed.client.get("/content/unified", headers=bearing(make(users["ada"])))
    assert refusal(answer) == (401, "token_refused")
    assert "another algorithm" in answer.json()["detail"]


def test_a_token_for_an_audience_is_not_for_a_service_without_one(closed: Served, users: dict[str, str]) -> None:
    """It was made for somebody else."""
    answer = closed.client.get("/content/unified", headers=bearing(signed(users["ada"], aud="shop")))
    assert "another audience" in answer.json()["detail"]


def test_a_closed_service_answers_nobody_in_particular(closed: Served, private: str) -> None:
    """An item that is there and one that is not are the same to them."""
    for path in ("/content/unified", private, "/content/auto/999999"):
        answer = closed.client.get(path)
        assert refusal(answer) == (401, "unauthenticated")
        assert answer.headers["www-authenticate"] == 'Bearer realm="genonaut"'


def test_the_document_says_where_tokens_go(service: Served, closed: Served) -> None:
    """Writing needs one, reading only where the service is closed; what is answered without is documented."""
    for served, reading in ((service, [{}, {"bearer": []}]), (closed, [{"bearer": []}])):
        document = served.client.get("/openapi.json").json()
        scheme = document["components"]["securitySchemes"]["bearer"]
        assert (scheme["type"], scheme["scheme"], scheme["bearerFormat"]) == ("http", "bearer", "JWT")
        read = document["paths"]["/api/v1/content/unified"]["get"]
        write = document["paths"]["/api/v1/content"]["post"]
        assert (read["security"], write["security"]) == (reading, [{"bearer": []}])
        assert {"401", "403"} <= set(read["responses"])


def test_the_key_is_in_no_process_list(service: Served) -> None:
    """Nor are tokens in the log."""
    assert SECRET.encode() not in Path(f"/proc/{service.process.pid}/cmdline").read_bytes()
    assert SECRET not in service.log_path.read_text()
    assert "eyJ" not in service.log_path.read_text()


def test_a_protected_environment_without_tokens_does_not_start(database: Settings) -> None:
    """It says why, in a sentence, and refuses."""
    assert database.database_url is not None
    environment = os.environ | {"DATABASE_URL": database.database_url.get_secret_value(), "GENONAUT_PROTECTED": "true"}
    command = [sys.executable, "-c", "from genonaut_lib.cli import main; main()", "serve", "--env", "test"]
    ended = subprocess.run(
        command, env=environment, cwd=project_root(), capture_output=True, timeout=60, check=False, text=True
    )
    assert ended.returncode == 2
    assert "believes anybody" in " ".join(ended.stderr.split())


def test_a_user_whom_nobody_knows_reads_what_is_public(service: Served, private: str) -> None:
    """A token is enough to look; to write takes a user."""
    stranger = bearing(token(str(uuid.uuid4())))
    assert seen(service, headers=stranger) == seen(service)
    answer = service.client.post("/content", headers=stranger, json=LEAST)
    assert refusal(answer) == (400, "unknown_creator")
