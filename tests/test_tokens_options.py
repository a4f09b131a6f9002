"""Every bad option of every method gets one line that says the allowed range."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fuseport.models.swag_vit import SIZES, vit_shape
from fuseport.models.tokens import BY_NAME, create
from fuseport.models.tokens.options import layers, span

L16 = vit_shape(SIZES["l16"])


@pytest.mark.parametrize(
    ("method", "options", "line"),
    [
        ("tome", {"r": 1025}, "r must be a whole number from 0 to 1024 (the network has 1025 tokens); got 1025"),
        ("tome", {"r": -1}, "r must be a whole number from 0 to 1024 (the network has 1025 tokens); got -1"),
        ("tome", {"r": 2.5}, "r must be a whole number from 0 to 1024 (the network has 1025 tokens); got 2.5"),
        ("tome", {"r": "a,b"}, "r must be a whole number from 0 to 1024 (the network has 1025 tokens); got 'a'"),
        ("tome", {"r": [1] * 25}, f"r as a list has at most 24 numbers and takes no inflect; got {[1] * 25}"),
        ("tome", {"r": 8, "inflect": 2}, "inflect must be a number from -1 to 1; got 2"),
        ("evit", {"keep_rate": 0, "drop_layers": "6"}, "keep_rate must be above 0 and at most 1; got 0"),
        ("evit", {"keep_rate": 1.1, "drop_layers": "6"}, "keep_rate must be above 0 and at most 1; got 1.1"),
        ("evit", {"keep_rate": float("nan"), "drop_layers": "6"}, "keep_rate must be above 0 and at most 1; got nan"),
        (
            "evit",
            {"keep_rate": 0.7, "drop_layers": "6,24"},
            "drop_layers must be a whole number from 0 to 23 (the network has 24 layers); got 24",
        ),
        (
            "evit",
            {"keep_rate": 0.7, "drop_layers": "6,6"},
            "drop_layers must list layers from 0 to 23, each once, such as 3,6,9; got '6,6'",
        ),
        ("evit", {"keep_rate": 0.7, "drop_layers": 6, "fuse": "yes"}, "fuse must be true or false; got 'yes'"),
        ("evit", {"keep_rate": 0.7, "drop_layers": 6, "score": "all"}, "score must be mean or class; got 'all'"),
        (
            "hourglass",
            {"location": 24, "clusters": 256},
            "location must be a whole number from 0 to 23 (the network has 24 layers); got 24",
        ),
        (
            "hourglass",
            {"location": 12, "clusters": 250},
            "clusters must be a square from 1 to 1024 (the token grid is 32x32), such as 256 = 16x16; got 250",
        ),
        (
            "hourglass",
            {"location": 12, "clusters": 1089},
            "clusters must be a square from 1 to 1024 (the token grid is 32x32), such as 256 = 16x16; got 1089",
        ),
        ("hourglass", {"location": 12, "clusters": 256, "window": 4}, "window must be odd, such as 5; got 4"),
        (
            "hourglass",
            {"location": 12, "clusters": 256, "iterations": 0},
            "iterations must be a whole number from 1 to 1000; got 0",
        ),
        (
            "hourglass",
            {"location": 12, "clusters": 256, "temperature": 0},
            "temperature must be a finite number above 0; got 0",
        ),
        ("act", {"q_hashes": 33}, "q_hashes must be a whole number from 1 to 32; got 33"),
        ("act", {"q_hashes": 8, "k_hashes": 0}, "k_hashes must be a whole number from 1 to 32; got 0"),
        ("act", {"q_hashes": 8, "group_k": 1}, "group_k must be true or false; got 1"),
        (
            "act",
            {"q_hashes": 8, "first_layer": 24},
            "first_layer must be a whole number from 0 to 23 (the network has 24 layers); got 24",
        ),
        (
            "ats",
            {"layers": 20, "token_bound": 1},
            "token_bound must be a whole number from 2 to 1025 (the network has 1025 tokens; 0 is no bound); got 1",
        ),
        ("ats", {"layers": 20, "residual": "x"}, "residual must be norm or input; got 'x'"),
        ("ats", {"layers": ""}, "layers must be a whole number from 0 to 23 (the network has 24 layers); got ''"),
        (
            "evo",
            {"location": 0, "keep_ratio": 0.5},
            "location must be a whole number from 1 to 23"
            " (the network has 24 layers, and the first one only scores); got 0",
        ),
        ("evo", {"location": 8, "keep_ratio": 0}, "keep_ratio must be above 0 and at most 1; got 0"),
        (
            "evo",
            {"location": 8, "keep_ratio": 0.0001},
            "keep_ratio must keep at least one of 1024 patch tokens; got 0.0001",
        ),
        ("evo", {"location": 8, "keep_ratio": 0.5, "tradeoff": -1}, "tradeoff must be a number from 0 to 1; got -1"),
        (
            "smyrf",
            {"cluster": 1024},
            "cluster must divide rounds x heads x tokens = 32 x 16 x 1025, as 1025 does; got 1024",
        ),
        (
            "smyrf",
            {"cluster": 60},
            "cluster must divide rounds x heads x tokens = 32 x 16 x 1025, as 64 does; got 60",
        ),
        (
            "smyrf",
            {"cluster": 64, "seed": "x"},
            f"seed must be a whole number from 0 to {2**63 - 1}; got 'x'",
        ),
        ("act", {"q_hashes": 8, "seed": -1}, f"seed must be a whole number from 0 to {2**63 - 1}; got -1"),
        ("smyrf", {"cluster": 0}, "cluster must be a whole number from 1 to 1025 (the network has 1025 tokens); got 0"),
        ("smyrf", {"cluster": 64, "rounds": 0}, "rounds must be a whole number from 1 to 1024; got 0"),
        (
            "smyrf",
            {"cluster": 64, "first_layer": 12, "last_layer": 12},
            "last_layer must be a whole number from 13 to 24 (the network has 24 layers; -1 is the end); got 12",
        ),
        (
            "tome",
            {},
            "tome needs the option 'r': pairs merged per layer; a list gives one number for each layer, the rest 0",
        ),
        ("tome", {"ratio": 3}, "tome has no option 'ratio'; it takes r, inflect"),
        ("none", {"r": 3}, "none has no option 'r'; it takes none"),
        ("topk", {}, "unknown token reduction 'topk'; known: none, hourglass, evit, tome, act, ats, evo, smyrf"),
    ],
)
def test_a_bad_option_gets_one_line(method: str, options: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(line)}$"):
        create(method, L16, **options)


@pytest.mark.parametrize("method", BY_NAME)
def test_every_option_has_a_line_of_help(method: str) -> None:
    assert all(text and len(text) < 110 for text in BY_NAME[method].OPTIONS.values())


def test_layers_and_spans_are_read_from_text_and_numbers() -> None:
    assert layers("x", "9, 3,6", 24) == layers("x", [3, 6, 9], 24) == (3, 6, 9)
    assert layers("x", 20, 24) == (20,)
    assert span(0, -1, 5) == range(5)
    assert span(2, 4, 5) == range(2, 4)
