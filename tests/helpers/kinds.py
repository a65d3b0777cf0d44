"""A value of every type that the archive keeps, as PostgreSQL's text."""

from __future__ import annotations

from typing import Any

import psycopg

_HUNDRED = "1234567890" * 10
UNICODE = "😀 e\u0301 \u202eשלום\u202c \u0001\t\n\\N 'quoted' \"too\" %s €"

KINDS: list[tuple[str, str, str, list[str | None]]] = [
    # column, type, kept as, values as PostgreSQL's text
    ("a_bool", "boolean", "bool", ["t", "f"]),
    ("a_small", "smallint", "int16", ["-32768", "32767"]),
    ("a_int", "integer", "int32", ["-2147483648", "2147483647"]),
    ("a_big", "bigint", "int64", ["-9223372036854775808", "9223372036854775807"]),
    ("a_real", "real", "float", ["NaN", "Infinity", "-Infinity", "-0", "0.1", "1e-45", "3.4028235e38", "16777216", "1e23"]),
    (
        "a_double",
        "double precision",
        "double",
        ["NaN", "Infinity", "-Infinity", "-0", "0.1", "5e-324", "0.30000000000000004", "1e22", "100"],
    ),
    ("a_text", "text", "string", ["", " ", UNICODE, "x" * 10_000]),
    ("a_varchar", "character varying(40)", "string", ["", "  both  ", UNICODE[:40]]),
    ("a_bpchar", "character(5)", "string", ["ab", "  c", "", "éé"]),
    ("a_char", '"char"', "string", ["c", ""]),
    ("a_name", "name", "string", ["a name"]),
    ("a_bytea", "bytea", "binary", ["\\x", "\\x00", "\\x00ff00deadbeef"]),
    (
        "a_date",
        "date",
        "date32[day]",
        ["infinity", "-infinity", "4714-11-24 BC", "5874897-12-31", "1999-12-31", "0001-02-29 BC", "0999-01-01"],
    ),
    (
        "a_stamp",
        "timestamp without time zone",
        "timestamp[us]",
        [
            "infinity",
            "-infinity",
            "4714-11-24 00:00:00 BC",
            "294246-12-31 23:59:59.999999",
            "2026-03-29 02:30:00.000001",
            "1970-01-01 00:35:47.483647",
            "0001-12-31 00:00:00 BC",
            "10000-01-01 00:00:00.1",
        ],
    ),
    (
        "a_stamptz",
        "timestamp with time zone",
        "timestamp[us, tz=UTC]",
        [
            "infinity",
            "-infinity",
            "4714-11-24 00:00:00+00 BC",
            "294246-12-31 23:59:59.999999+00",
            "2026-03-29 02:30:00.123456+02",
            "2026-01-01 00:00:00+00",
            "0999-01-01 00:00:00.5+00",
        ],
    ),
    ("a_time", "time without time zone", "string", ["00:00:00", "24:00:00", "12:34:56.000001"]),
    ("a_timetz", "time with time zone", "string", ["24:00:00-15:59", "12:34:56.000001+02"]),
    ("a_interval", "interval", "string", ["1 year -2 mons +3 days -04:05:06.000007", "0", "-178000000 years", "1 mon"]),
    (
        "a_numeric",
        "numeric",
        "string",
        ["NaN", "Infinity", "-Infinity", f"-{_HUNDRED}.{_HUNDRED}", "0.10", "1e-30", "7", "123456789012345678901234567890"],
    ),
    ("a_money", "numeric(10,2)", "string", ["0.10", "-99999999.99", "NaN"]),
    ("a_json", "json", "string", ['{"b":1,  "a":2, "a":3}', "null", f'"{chr(0x1F600)}"']),
    ("a_jsonb", "jsonb", "string", ['{"é": [1, 2.50, {"x": null}], "\\u00e8": "\\ud83d\\ude00"}', "null", "1e400", '""']),
    ("a_xml", "xml", "string", ["<a b='1'>é</a>", "text only"]),
    ("a_uuid", "uuid", "extension<arrow.uuid>", ["00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
    ("a_inet", "inet", "string", ["192.0.2.1", "192.0.2.1/24", "2001:db8::1/64", "::ffff:192.0.2.1"]),
    ("a_cidr", "cidr", "string", ["192.0.2.0/24", "2001:db8::/32", "192.0.2.1/32"]),
    ("a_mac", "macaddr", "string", ["08:00:2b:01:02:03"]),
    ("a_mac8", "macaddr8", "string", ["08:00:2b:01:02:03:04:05"]),
    ("a_bit", "bit(3)", "string", ["101"]),
    ("a_varbit", "bit varying", "string", ["", "1010"]),
    ("a_tsvector", "tsvector", "string", ["", "'a b':1A,2 'c''d':3B"]),
    ("a_enum", "public.mood", "string", ["sad", 'so "so", it\'s']),
    ("some_ints", "integer[]", "string", ["{}", "{1,NULL,3}", "{{1,NULL},{3,4}}", "[0:1][-1:0]={{1,2},{NULL,4}}"]),
    ("some_texts", "text[]", "string", ['{"",NULL,"NULL","a\\"b\\\\c,{}"," x"}', "{é,😀}"]),
    ("some_stamps", "timestamp with time zone[]", "string", ["{infinity,NULL,2026-01-01 00:00:00.000001+00}"]),
    ("some_floats", "double precision[]", "string", ["{NaN,0.1,-0,Infinity,0.30000000000000004}"]),
    ("some_more", "numeric(10,2)[]", "string", ["{1.00,NULL,NaN}"]),
    ("some_flags", "boolean[]", "string", ["{t,f,NULL}"]),
    ("some_days", "date[]", "string", ["{infinity,2026-01-01}"]),
    ("some_local_stamps", "timestamp(3) without time zone[]", "string", ['{"2026-01-01 00:00:00.1","0044-03-15 12:00:00 BC"}']),
    ("some_documents", "jsonb[]", "string", ['{"{\\"a\\": [1, \\"x,}\\"]}",NULL,"null"}']),
    ("some_hosts", "inet[]", "string", ["{192.0.2.1,2001:db8::/32}"]),
    ("some_bytes", "bytea[]", "string", ['{"\\\\x00ff",NULL}']),
    ("some_enums", "public.mood[]", "string", ["{sad,NULL}"]),
    ("some_intervals", "interval[]", "string", ['{"1 mon -3 days"}']),
    ("a_range", "tstzrange", "string", ["empty", "(,)", '["2026-01-01 00:00:00.1+00",infinity)', "(-infinity,2026-01-01 00:00:00+00]"]),
    ("a_numrange", "numrange", "string", ["[0.10,1e20)"]),
    ("a_multi", "int4multirange", "string", ["{}", "{[1,3),[5,)}"]),
    ("some_ranges", "daterange[]", "string", ['{"[2026-01-01,infinity)",empty}']),
    ("a_textrange", "public.textrange", "string", ['["a,\\"b",z)']),
    ("a_domain", "public.percent", "string", ["12.50"]),
    ("a_host", "public.host", "string", ["192.0.2.1"]),
    ("a_local_day", "public.local_day", "date32[day]", ["infinity", "2026-01-01"]),
    ("some_domains", "public.percent[]", "string", ["{1.0,NULL}"]),
    ("a_domain_of_domain", "public.small_percent", "string", ["1.00"]),
]
TYPES = """
    create type mood as enum ('sad', 'so "so", it''s'); create type textrange as range (subtype = text, collation = "C");
    create domain percent as numeric check (value < 100); create domain local_day as date; create domain host as inet;
    create domain small_percent as percent check (value < 10)
"""
"""The types of those columns that a database does not have by itself."""


def has_xml_in(db: psycopg.Connection[Any]) -> bool:
    """Was the server built with XML? The wheel's was not."""
    try:
        with db.transaction():
            db.execute("select '<a/>'::xml")
    except psycopg.errors.FeatureNotSupported:
        return False
    return True
