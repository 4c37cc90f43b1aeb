"""Settings: checked when they are set, and hashed by what they mean."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.config import NoSettings, build, file_digest, identity, setting
from bench.errors import BadValue, UnknownName


@dataclass(frozen=True, kw_only=True)
class Config:
    temperature: float = setting(0.5, "softmax temperature", source="a paper", above=0)
    width: int = setting(128, "of the projector", least=1, most=4096)
    share: float = setting(1, "a float whose default is whole", least=0, most=1)
    kind: str = setting("mean", "which", choices=("mean", "sum"))
    maybe: str | None = setting(None, "which, or none", choices=("a", "b"))
    on: bool = setting(default=False, doc="whether")
    many: tuple[float, ...] = setting((0.1, 1), "several", above=0)
    two: tuple[int, int] = setting((1, 2), "a pair")
    weights: str | None = setting(None, "a file", file=True)


def build_config(**values: Any) -> Config:
    config: Config = build(Config, values, "simclr")
    return config


def test_what_is_left_out_has_its_default() -> None:
    assert build_config() == Config()
    assert build_config().temperature == 0.5


def test_values_are_what_the_fields_say() -> None:
    config = build_config(temperature=1, width=64, on=True, many=[1, 2], two=[3, 4], kind="sum", maybe="a")

    assert (config.temperature, config.width, config.on) == (1.0, 64, True)
    assert isinstance(config.temperature, float)
    assert config.many == (1.0, 2.0)
    assert (config.two, config.kind, config.maybe) == ((3, 4), "sum", "a")


def test_a_number_that_yaml_reads_as_a_word_is_a_number() -> None:
    assert build_config(temperature="1e-4").temperature == 1e-4


def test_one_value_may_stand_for_a_list_of_one() -> None:
    assert build_config(many=3).many == (3.0,)


def test_none_may_be_set_where_it_is_a_value() -> None:
    assert build_config(maybe=None, weights=None) == Config()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": 0}, r"simclr.temperature: 0 is out of range. Use more than 0."),
        ({"temperature": float("nan")}, r"simclr.temperature: nan is out of range"),
        ({"temperature": "nan"}, r"simclr.temperature: nan is out of range"),
        ({"share": "inf"}, r"simclr.share: inf is out of range. Use at least 0 and at most 1."),
        ({"temperature": "warm"}, r"simclr.temperature: 'warm' is str. Use a number."),
        ({"temperature": True}, r"simclr.temperature: True is bool. Use a number."),
        ({"temperature": None}, r"simclr.temperature: None is NoneType. Use a number."),
        ({"width": 4097}, r"simclr.width: 4097 is out of range. Use at least 1 and at most 4096."),
        ({"width": 1.5}, r"simclr.width: 1.5 is float. Use a whole number."),
        ({"width": True}, r"simclr.width: True is bool. Use a whole number."),
        ({"on": 1}, r"simclr.on: 1 is int. Use true or false."),
        ({"kind": "means"}, r"simclr.kind: 'means' is not one of its values. Did you mean 'mean'\?"),
        ({"kind": None}, r"simclr.kind: None is NoneType"),
        ({"maybe": "c"}, r"simclr.maybe: 'c' is not one of its values. .*Known: a, b."),
        ({"many": [1, 0]}, r"simclr.many: 0 is out of range"),
        ({"many": ["x"]}, r"simclr.many: 'x' is str. Use a number."),
        ({"two": [1]}, r"simclr.two: \[1\] has 1 items. Use 2."),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(BadValue, match=message) as caught:
        build_config(**values)

    assert "\n" not in str(caught.value)


def test_an_unknown_setting_gets_a_suggestion() -> None:
    with pytest.raises(
        UnknownName, match=r"simclr: no setting is named 'temprature'. Did you mean 'temperature'"
    ):
        build_config(temprature=1)
    with pytest.raises(UnknownName, match="It has nothing to set"):
        build(NoSettings, {"k": 1}, "random")


def test_a_default_that_can_change_is_refused() -> None:
    with pytest.raises(TypeError, match="use a tuple"):
        setting([1, 2], "several")


def test_the_identity_has_every_field() -> None:
    assert identity(Config()) == {
        "temperature": 0.5,
        "width": 128,
        "share": 1.0,
        "kind": "mean",
        "maybe": None,
        "on": False,
        "many": [0.1, 1.0],
        "two": [1, 2],
        "weights": None,
    }


def test_a_whole_number_is_one_identity_whether_it_is_set_or_not() -> None:
    set_anyway = identity(build_config(share=1, many=[0.1, 1], two=(1, 2), width=128))

    assert repr(set_anyway) == repr(identity(Config()))  # 1 == 1.0, but as JSON they differ


def test_a_file_is_identified_by_its_content(tmp_path: Path) -> None:
    one, copy, other = (tmp_path / name for name in ("a.pth", "b.pth", "c.pth"))
    one.write_bytes(b"weights")
    copy.write_bytes(b"weights")
    other.write_bytes(b"others")
    digests = [identity(build_config(weights=str(path)))["weights"] for path in (one, copy, other)]

    assert digests[0] == digests[1] == hashlib.sha256(b"weights").hexdigest()
    assert digests[0] != digests[2]


def test_a_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match=r"absent.pth: the file cannot be read \(No such file or directory\)"):
        identity(build_config(weights=str(tmp_path / "absent.pth")))
    with pytest.raises(BadValue, match="cannot be read"):
        file_digest(tmp_path)
