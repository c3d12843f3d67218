"""The portal's side of LDAP against a real slapd: who is found, whose password is taken, and whose never."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dure_hub.logins.directory import Directory
from dure_hub.operations.login_errors import ProviderAway
from dure_hub.settings import Settings
from tests.support.slapd import GROUPS, PEOPLE, PORTAL, PORTAL_SECRET, Slapd, running


@pytest.fixture(scope="module")
def slapd() -> Iterator[Slapd]:
    """A directory with ana and ben, of whom ana is in two groups."""
    with running() as made:
        made.add_person("ana", "ana-secret")
        made.add_person("ben", "ben-secret")
        made.add_person("a*(b)", "odd-secret")
        made.put_group("vision", ["ana"])
        made.put_group("ml, people", ["ana", "a*(b)"])
        yield made


@pytest.fixture
def directory(slapd: Slapd, tmp_path: Path) -> Directory:
    return Directory(settings(slapd, tmp_path))


def settings(slapd: Slapd, folder: Path, **more: Any) -> Settings:
    """By search, over StartTLS."""
    secret = folder / "bind"
    secret.write_text(PORTAL_SECRET + "\n")
    values = {
        "data": folder,
        "auth": "ldap",
        "ldap_url": slapd.url,
        "ldap_ca_file": slapd.ca,
        "ldap_bind_dn": PORTAL,
        "ldap_bind_password_file": secret,
        "ldap_user_base": PEOPLE,
        "ldap_groups": "search",
        "ldap_group_base": GROUPS,
        **more,
    }
    return Settings.model_validate(values)


def test_a_password_is_its_owners(directory: Directory) -> None:
    entry = directory.login("ana", "ana-secret")
    assert entry is not None
    assert (entry.name, entry.disabled, sorted(entry.groups or ())) == ("ana", False, ["ml, people", "vision"])
    assert entry.subject
    assert directory.login("ana", "ben-secret") is None
    assert directory.login("nobody", "ana-secret") is None


def test_no_password_is_no_login_though_the_directory_would_take_it(
    slapd: Slapd, directory: Directory, tmp_path: Path
) -> None:
    own = Directory(settings(slapd, tmp_path, ldap_bind_dn="", ldap_user_dn=f"uid={{name}},{PEOPLE}"))
    for one in (directory, own):
        assert one.login("ana", "") is None
        assert one.login("", "ana-secret") is None
    with pytest.raises(ProviderAway):  # nor does the portal itself come as nobody
        Directory(settings(slapd, tmp_path, ldap_bind_password_file=None)).find("ana")


@pytest.mark.parametrize("typed", ["*", "a*", "ana)(uid=*", "ana)(|(uid=*", "\x00", "an\\61", "*)(objectClass=*"])
def test_what_was_typed_is_a_name_and_no_filter(directory: Directory, typed: str) -> None:
    assert directory.find(typed) is None
    assert directory.login(typed, "ana-secret") is None


def test_a_name_with_signs_of_filters_is_found_as_it_is(directory: Directory) -> None:
    entry = directory.login("a*(b)", "odd-secret")
    assert entry is not None
    assert entry.groups == ["ml, people"]


@pytest.mark.parametrize("name", ["ana,ou=people", "ana+cn=x", "ana\\", '"ana"', "#616e61"])
def test_what_was_typed_is_a_name_and_no_place(slapd: Slapd, tmp_path: Path, name: str) -> None:
    own = Directory(settings(slapd, tmp_path, ldap_bind_dn="", ldap_user_dn=f"uid={{name}},{PEOPLE}"))
    assert own.login(name, "ana-secret") is None
    assert own.login("ana", "ana-secret") is not None


def test_groups_by_member_of(slapd: Slapd, tmp_path: Path) -> None:
    entry = Directory(settings(slapd, tmp_path, ldap_groups="memberof")).find("ana")
    assert entry is not None
    assert sorted(entry.groups or ()) == ["ml, people", "vision"]
    elsewhere = Directory(
        settings(slapd, tmp_path, ldap_groups="memberof", ldap_group_base="ou=x,dc=example,dc=org")
    )
    entry = elsewhere.find("ana")
    assert entry is not None
    assert entry.groups == []


def test_who_is_disabled_is_known_and_not_let_in(slapd: Slapd, directory: Directory) -> None:
    slapd.disable("ben")
    try:
        assert directory.login("ben", "ben-secret") is None
        entry = directory.find("ben")
        assert entry is not None
        assert entry.disabled
    finally:
        slapd.disable("ben", off=False)
    assert directory.login("ben", "ben-secret") is not None


def test_a_directory_is_known_by_its_certificate(slapd: Slapd, tmp_path: Path) -> None:
    address = f"ldaps://127.0.0.1:{slapd.tls_port}"
    assert Directory(settings(slapd, tmp_path, ldap_url=address)).find("ana") is not None
    for wrong in ({"ldap_ca_file": None}, {"ldap_url": f"ldaps://localhost:{slapd.tls_port}"}):
        for start in ({"ldap_url": address}, {}):
            with pytest.raises(ProviderAway):
                Directory(settings(slapd, tmp_path, **{**start, **wrong})).find("ana")


def test_a_directory_that_is_down_says_nothing_of_anybody(slapd: Slapd, directory: Directory) -> None:
    slapd.stop()
    try:
        with pytest.raises(ProviderAway):
            directory.find("ana")
        with pytest.raises(ProviderAway):
            directory.login("ana", "ana-secret")
    finally:
        slapd.start()
    assert directory.find("ana") is not None
