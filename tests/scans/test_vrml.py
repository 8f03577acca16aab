import time

import numpy as np
import pytest

from afnet_jax.scans import vrml


def parse(text: str) -> vrml.Node:
    return vrml.parse(b"#VRML V2.0 utf8\n" + text.encode())


def test_finds_nodes_and_fields_by_name():
    """The example is written by hand after ISO/IEC 14772-1, annex A."""
    root = parse(
        """
        WorldInfo { title "a \\"b\\" # c" info [ "d", "e" ] }
        DEF N Transform { translation 1 -2 3e0 children [ Group { } DEF M Shape { geometry NULL } ] }
        """
    )
    assert [node.type for node in root.below()] == ["root", "WorldInfo", "Transform", "Group", "Shape"]
    info, transform = root.fields["children"]
    assert info.fields == {"title": 'a \\"b\\" # c', "info": ["d", "e"]}
    assert vrml.numbers(transform.fields["translation"], np.float64, "translation").tolist() == [1, -2, 3]
    assert transform.fields["children"][1].fields == {"geometry": "NULL"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("1", [1]),
        ("1,2 ,3,,4,", [1, 2, 3, 4]),
        ("1 #2 ]\n 3 # [\r 4", [1, 3, 4]),
        ("\t+1e2\n-.5\r\n.25 5. 1E-2", [100, -0.5, 0.25, 5, 0.01]),
    ],
)
def test_reads_number_arrays(text, expected):
    assert (
        vrml.numbers(parse(f"A {{ x [{text}] }}").fields["children"][0].fields["x"], np.float64, "x").tolist()
        == expected
    )


def test_long_arrays_are_read_as_numpy_reads_them():
    values = np.random.default_rng(0).normal(0, 1e3, 60_000)  # more than one chunk
    body = " ".join(map(repr, values.tolist())).encode()
    np.testing.assert_array_equal(vrml.numbers(body, np.float64, "x"), values)


@pytest.mark.parametrize("text", ["nan", "inf", "1_0", "0x1", "1-2", "1.2.3", "e", "--1", "1e", "TRUE"])
def test_refuses_what_is_no_number(text):
    with pytest.raises(vrml.VRMLError, match="x array holds"):
        vrml.numbers(text.encode(), np.float64, "x")


@pytest.mark.parametrize("text", ["1.0", "1e3", "9" * 30, "9" * 5000])
def test_refuses_what_is_no_index(text):
    with pytest.raises(vrml.VRMLError, match="x array holds"):
        vrml.numbers(text.encode(), np.int64, "x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A {\n b", "line 3: expected a name, found b'' \\(the file is cut short\\)"),
        ("A {\n }\n }", "line 4: expected a name, found b'}'"),
        ("A [", "line 2: expected '{'"),
        ("A { x 1 x 2 }", "`x` stands twice"),
        ("PROTO A [ ] { }", "PROTO is not supported"),
    ],
)
def test_faults_name_the_line(text, message):
    with pytest.raises(vrml.VRMLError, match=message):
        parse(text)


HOSTILE = {
    "nesting": "Group { children [ " * 300_000,
    "brackets in comments": "x [ 1" + "#]\n" * 1_000_000,
    "comments": "# ]\n" * 1_000_000 + "}",
    "nodes": "A{}" * 1_000_000,
    "arrays": "A{x[" * 700_000,
    "quotes": '"' * 3_000_000,
    "fields": "A {" + "a 1 " * 700_000,
    "one long number": "A { x [ " + "1" * 3_000_000 + " ] }",
    "numbers without brackets": "A { x " + "1 " * 1_500_000,
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_ends_soon(body):
    start = time.perf_counter()
    with pytest.raises(vrml.VRMLError):
        root = vrml.parse(b"#VRML V2.0 utf8\n" + body.encode())
        vrml.numbers(root.fields["children"][0].fields["x"], np.int64, "x")
    assert time.perf_counter() - start < 2
