"""Rules of pg_hba.conf: how they are read, what each matches, what is refused. That PostgreSQL reads the same
is tests/integration/test_hba.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolproxy.auth import ident
from poolproxy.auth.hba import InvalidRules, Origin, Rules, parse


def nothing_to_read(name: str, beside: str) -> tuple[str, str]:
    raise FileNotFoundError(2, "No such file or directory")


def rules(text: str) -> Rules:
    return parse("hba", text, nothing_to_read)


def found(text: str, peer: str, database: str = "shop", user: str = "app", encrypted: bool = False) -> str:
    rule = rules(text).find(Origin.of(peer, encrypted), database, user)
    return "none" if rule is None else rule.method


TABLE = """
# TYPE  DATABASE        USER            ADDRESS                 METHOD
local   all             all                                     trust
host    shop,"other db" app,"all"       10.0.0.0/8              scram-sha-256
host    sameuser        all             127.0.0.1 255.255.255.255  md5   # behind it
host    all             /^svc_[0-9]+$   fd00::/16               trust
hostssl all             all             0.0.0.0/0               trust
host    replication     all             all                     trust
host    all             boss, deputy    all                     reject
"""


DEBIAN = """
# DO NOT DISABLE!
# If you change this first entry you will need to make sure that the
# database superuser can access the database using some other method.
# Database administrative login by Unix domain socket
local   all             postgres                                peer

# TYPE  DATABASE        USER            ADDRESS                 METHOD

# "local" is for Unix domain socket connections only
local   all             all                                     peer
# IPv4 local connections:
host    all             all             127.0.0.1/32            scram-sha-256
# IPv6 local connections:
host    all             all             ::1/128                 scram-sha-256
# Allow replication connections from localhost, by a user with the
# replication privilege.
local   replication     all                                     peer
host    replication     all             127.0.0.1/32            scram-sha-256
host    replication     all             ::1/128                 scram-sha-256
"""


class TestMatching:
    TEXT = TABLE

    @pytest.mark.parametrize(
        ("peer", "database", "user", "method"),
        [
            ("unix", "shop", "anybody", "trust"),
            ("10.1.2.3:5000", "shop", "app", "scram-sha-256"),
            ("10.1.2.3:5000", "other db", "app", "scram-sha-256"),
            ("10.1.2.3:5000", "other", "app", "none"),
            ("10.1.2.3:5000", "shop", "all", "scram-sha-256"),
            ("10.1.2.3:5000", "shop", "ap", "none"),
            ("11.1.2.3:5000", "shop", "app", "none"),
            ("[::ffff:10.1.2.3]:5000", "shop", "app", "scram-sha-256"),
            ("127.0.0.1:5000", "eve", "eve", "md5"),
            ("127.0.0.2:5000", "eve", "eve", "none"),
            ("127.0.0.1:5000", "eve", "adam", "none"),
            ("[fd00::1]:5000", "shop", "svc_12", "trust"),
            ("[fd00::1]:5000", "shop", "svc_", "none"),
            ("[fe80::1]:5000", "shop", "svc_12", "none"),
            ("8.8.8.8:5000", "shop", "deputy", "reject"),
        ],
    )
    def test_the_first_that_matches(self, peer: str, database: str, user: str, method: str) -> None:
        assert found(self.TEXT, peer, database, user) == method

    def test_only_an_encrypted_connection(self) -> None:
        assert found(self.TEXT, "8.8.8.8:1", encrypted=True) == "trust"
        assert found("hostnossl all all all md5", "8.8.8.8:1", encrypted=True) == "none"
        assert found("hostnossl all all all md5", "8.8.8.8:1") == "md5"
        assert found("hostgssenc all all all trust\nhostnogssenc all all all md5", "8.8.8.8:1") == "md5"

    def test_a_rule_for_tcp_is_none_for_a_unix_socket(self) -> None:
        assert found("host all all all trust", "unix") == "none"
        assert found("local all all trust", "8.8.8.8:1") == "none"

    @pytest.mark.parametrize(
        ("pattern", "name", "matches"),
        [
            ("^app$", "app", True),
            ("^app$", "app\n", False),
            ("^app$", "app\nother", False),
            ("^app|other$", "other\n", False),
            ("^(app$|other)", "app\n", False),
            ("^.*_admin$", "x\n_admin", True),
            ("^.*_admin$", "_admin\n", False),
            ("^a[^b]c$", "a\nc", True),
            (r"^app\$", "app$", True),
            (r"^app\$", "app$x", True),
            (r"^app\$$", "app$\n", False),
            (r"^app\\\\$", "app\\\\\n", False),
            ("^app[$]", "app$x", True),
            ("^app[]$]$", "app$\n", False),
            ("^app[]$]$", "app]", True),
            ("^app[^]$]$", "app$", False),
            (r"^app[\]$]$", "app$", True),
            (r"^app[\]$]$", "app$\n", False),
            ("^app(?#[)$", "app\n", False),
            ("(?m)^app$", "app\nother", True),
            ("(?m)^a.p$", "a\np", False),
            (r"^\w+$", "app", True),
            (r"^\w+$", "äpp", False),
            (r"^\d+$", "\u0661", False),
            ("(?i)^APP$", "app", True),
            ("(?i)^s$", "\u017f", False),
        ],
    )
    def test_a_newline_is_a_letter_like_any_other(self, pattern: str, name: str, matches: bool) -> None:
        """That PostgreSQL has it so is tests/integration/test_hba.py."""
        assert found(f'host all "/{pattern}" all trust', "8.8.8.8:1", user=name) == (
            "trust" if matches else "none"
        )
        assert found(f'host "/{pattern}" all all trust', "8.8.8.8:1", name) == (
            "trust" if matches else "none"
        )


@pytest.mark.parametrize(
    "pattern", ["^[[:alpha:]]+$", "^x[0-9[:alpha:]]", "^[^[:space:]]", "^[[.a.]]", "^[[=a=]]"]
)
def test_classes_are_refused(pattern: str) -> None:
    """They would be something else here, without a word: `reject` behind one would be for nobody."""
    with pytest.raises(InvalidRules, match="classes such as"):
        rules(f'host all "/{pattern}" all reject')


class TestReading:
    def test_a_line_goes_on_behind_a_backslash(self) -> None:
        (rule,) = rules("host all all \\\n  10.0.0.0/8 \\\n  md5\n")
        assert (rule.where, rule.method) == ("hba line 1", "md5")

    def test_what_is_quoted_is_a_name(self) -> None:
        (rule,) = rules('host "sameuser","two ""quotes"""," a,b #c" "+admins" all md5')
        assert rule.databases.names == {"sameuser", 'two "quotes"', " a,b #c"}
        assert rule.users.names == {"+admins"}

    def test_other_files(self) -> None:
        files = {
            ("names.txt", "hba"): ("dir/names.txt", "one two,three\n# none\n@more.txt"),
            ("more.txt", "dir/names.txt"): ("dir/more.txt", "four"),
            ("rest.conf", "hba"): ("rest.conf", "host all all all reject"),
        }

        def read(name: str, beside: str) -> tuple[str, str]:
            try:
                return files[name, beside]
            except KeyError:
                raise FileNotFoundError(2, "No such file or directory") from None

        text = 'host @names.txt,"@x" all all md5\ninclude_if_exists none.conf\ninclude rest.conf\n'
        first, second = parse("hba", text, read)
        assert first.databases.names == {"one", "two", "three", "four", "@x"}
        assert (second.where, second.method) == ("rest.conf line 1", "reject")
        with pytest.raises(InvalidRules, match=r"hba line 1: cannot read none\.conf: No such file"):
            parse("hba", "include none.conf", read)

    def test_files_that_include_each_other(self) -> None:
        with pytest.raises(InvalidRules, match="deeper than 10"):
            parse("hba", "include hba", lambda name, beside: (name, "include hba"))

    def test_a_directory(self) -> None:
        read = {
            "conf.d/1": "include_dir more",
            "conf.d/2": "host all all all md5",
            "more/x": "local all all peer",
        }

        def listing(name: str, beside: str) -> list[str]:
            return {("conf.d", "hba"): ["conf.d/1", "conf.d/2"], ("more", "conf.d/1"): ["more/x"]}[
                name, beside
            ]

        found = parse("hba", "include_dir conf.d", lambda name, _: (name, read[name]), listing=listing)
        assert [rule.where for rule in found] == ["more/x line 1", "conf.d/2 line 1"]

    def test_directories_that_include_each_other(self) -> None:
        with pytest.raises(InvalidRules, match="x line 1: files within files, deeper than 10"):
            parse("hba", "include_dir d", lambda n, _: ("x", "include_dir d"), listing=lambda n, _: ["x"])

    def test_a_file_with_an_odd_name_makes_no_line_of_its_own(self) -> None:
        with pytest.raises(InvalidRules) as told:
            parse("hba", "include x", lambda name, _: ("a\nb\udcff", "nonsense"))
        assert told.value.problems[0].startswith(r"a\nb\udcff line 1: 'nonsense'")

    def test_debians_file(self) -> None:
        """As its package writes it, for PostgreSQL 17."""
        found = rules(DEBIAN)
        assert [rule.method for rule in found] == ["peer"] * 2 + ["scram-sha-256"] * 2 + ["peer"] + [
            "scram-sha-256"
        ] * 2
        for peer, user, method in (
            ("unix", "postgres", "peer"),
            ("unix", "app", "peer"),
            ("127.0.0.1:5", "app", "scram-sha-256"),
            ("[::1]:5", "postgres", "scram-sha-256"),
            ("10.0.0.1:5", "app", "none"),
        ):
            rule = found.find(Origin.of(peer, False), "shop", user)
            assert (rule.method if rule is not None else "none") == method

    def test_peer_may_have_a_map(self) -> None:
        maps = ident.parse("ident", "crew root app", nothing_to_read)
        (rule,) = parse("hba", "local all all peer map=crew", nothing_to_read, maps)
        assert (rule.method, rule.map) == ("peer", "crew")

    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            ("hosts all all all md5", "'hosts' is no kind of connection"),
            ("host", "the databases are missing"),
            ("host all", "the users are missing"),
            ("host all all", "the address is missing"),
            ("host all all all", "the method is missing"),
            ("local all all", "the method is missing"),
            ("host all all 10.0.0.1 md5", "is no address with a mask"),
            ("host all all 10.0.0.1", "the mask behind an address is missing"),
            ("host all all 10.0.0.0/33 md5", "is no address with a mask"),
            ("host all all 10.0.0.0 255.0.255.0 md5", "is no address with a mask"),
            ("host all all db.example.org md5", "host names are not looked up"),
            ("host all all samenet md5", "write the network"),
            ("host all +admins all md5", "only PostgreSQL knows"),
            ("host samerole all all md5", "only PostgreSQL knows"),
            ("host all all all ldap", "method ldap is not supported"),
            ("host all all all mdfive", "'mdfive' is no method"),
            ("host all all all md5,trust", "the method is one word, not a list"),
            ("host all all all md5 map=x", "map is for hostssl alone"),
            ("host all all all cert", "method cert is for hostssl alone"),
            ("hostssl all all all md5 map=x", "method md5 compares no names"),
            ("hostssl all all all cert map=x", "there is no map 'x'"),
            ("hostssl all all all cert clientcert=verify-ca", "it has clientcert=verify-full"),
            ("hostssl all all all md5 clientcert=yes", "clientcert is verify-ca or verify-full, not 'yes'"),
            ("hostssl all all all cert clientname=SAN", "clientname is CN or DN"),
            ("hostssl all all all cert clientname", "'clientname' is no option"),
            ("hostssl all all all ldap", "method ldap is not supported"),
            ("host /( all all md5", "is no regular expression"),
            ("host /a{99999999999} all all md5", "is no regular expression"),
            (f"host /{'(' * 5000}{')' * 5000} all all md5", "is no regular expression"),
            ("host all +\x1b[31m all md5", r"+\x1b[31m is not supported"),
            ('host "all all all md5', "a quote is not closed"),
            ("host all all 127.0.0.1/32 peer", "method peer is for local alone"),
            ("hostssl all all all peer map=x", "method peer is for local alone"),
            ("local all all peer map=x", "there is no map 'x'"),
            ("local all all peer clientcert=verify-full", "clientcert is for hostssl alone"),
            ("local all all peer map=x clientname=DN", "clientname is for hostssl alone"),
            ("include_dir conf.d", "cannot read conf.d: No such file or directory"),
            ("include_dir a b", "include_dir takes one directory"),
            ('include_dir " "', "include_dir takes one directory"),
            ("include", "include takes one file"),
        ],
    )
    def test_what_cannot_be_is_told_with_its_line(self, line: str, problem: str) -> None:
        with pytest.raises(InvalidRules) as told:
            rules(f"local all all trust\n{line}")
        (text,) = told.value.problems
        assert text.startswith("hba line 2: ")
        assert problem in text

    def test_options(self) -> None:
        first, second = rules(
            "hostssl all all all cert clientname=DN\n"
            "hostssl all all all scram-sha-256 clientcert=verify-full\n"
        )
        assert (first.method, first.clientname, first.clientcert, first.map) == ("cert", "DN", "", "")
        assert (second.method, second.clientname, second.clientcert) == ("scram-sha-256", "CN", "verify-full")

    def test_all_problems_are_told_at_once(self) -> None:
        with pytest.raises(InvalidRules) as told:
            rules("host\nlocal all all trust\nhost all all all nonsense")
        assert [each.split(":")[0] for each in told.value.problems] == ["hba line 1", "hba line 3"]

    @given(st.text(st.sampled_from("host localall,\"'# \t\\\n+/@0.1:md5trust="), max_size=80))
    def test_any_text_is_rules_or_problems(self, text: str) -> None:
        problems: tuple[str, ...] = ()
        try:
            rules(text).find(Origin.of("10.0.0.1:1", False), "shop", "app")
        except InvalidRules as invalid:
            problems = invalid.problems
        assert all(problem.startswith("hba line ") for problem in problems)
