"""What the server of `make servers` is: else the tests on it would show less than they say."""

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.support.fix_database import given_server


@pytest.fixture
def given() -> str:
    url = given_server()
    assert url is not None, "run `make servers`"
    return url


def test_serves_a_role_that_may_make_databases_and_nothing_else(given: str) -> None:
    with psycopg.connect(given) as connection:
        rights = connection.execute(
            "select rolcreatedb, rolsuper, rolcreaterole, rolreplication, rolbypassrls from pg_roles "
            "where rolname = current_user"
        ).fetchone()
        groups = connection.execute("select count(*) from pg_auth_members where member = current_user::regrole")
        assert rights == (True, False, False, False, False)
        assert groups.fetchone() == (0,)


def test_sorts_as_people_do(given: str) -> None:
    with psycopg.connect(given) as connection:
        assert connection.execute("select 'a' < 'B' and 'B' < 'c'").fetchone() == (True,)


def test_refuses_who_has_no_password_or_no_encryption(given: str) -> None:
    for wrong in ({"password": "wrong"}, {"sslmode": "disable"}):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(make_conninfo(given, **wrong))
