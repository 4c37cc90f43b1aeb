"""Plugins are found, contained when they are broken, and looked up by name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from textwrap import dedent

import pytest

from bench.errors import BadPlugin, UnknownName
from bench.registry.registry import KINDS, Registry

Install = Callable[..., None]

OFFERS = """
from bench.api import Family, Offer, hookimpl

@hookimpl
def bench_methods():
    yield Offer("{name}", "it:It", "What it does.")
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install distributions as pip leaves them: modules, and a dist-info beside them."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def make(
        dist: str,
        point: str = "point",
        version: str = "1.0",
        folder: Path = tmp_path,
        more: Sequence[str] = (),
        **modules: str,
    ) -> None:
        folder.mkdir(exist_ok=True)
        info = folder / f"{dist.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {dist}", f"Version: {version}", *more]
        (info / "METADATA").write_text("".join(f"{line}\n" for line in lines))
        first = next(iter(modules))
        (info / "entry_points.txt").write_text(f"[bench]\n{point} = {first}\n")
        for name, text in modules.items():
            (folder / f"{name}.py").write_text(dedent(text))

    yield make
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def names(registry: Registry, kind: str) -> set[str]:
    return {entry.name for entry in registry.entries(kind)}


def failures(registry: Registry, dist: str) -> list[tuple[str, str]]:
    return [(f.phase, f.error) for f in registry.failures if f.plugin.dist == dist]


def test_built_in_plugins_are_found_like_anyones() -> None:
    registry = Registry.load()

    assert {"simclr", "vicreg", "supervised", "random"} <= names(registry, "methods")
    assert {"digits", "cifar10"} <= names(registry, "datasets")
    assert registry.find("backbones", "resnet18").member_of == "timm"
    assert failures(registry, "ssl-bench") == []


def test_a_relative_target_is_relative_to_the_offering_package() -> None:
    entry = Registry.load().find("methods", "simclr")

    assert entry.target.endswith(".methods.simclr:SimCLR")
    assert not entry.target.startswith(".")


def test_a_plugin_that_cannot_be_imported_leaves_the_others(install: Install) -> None:
    install("broken", brokenmod="import nowhere_to_be_found")
    install("fine", finemod=OFFERS.format(name="fine"))

    registry = Registry.load()

    assert {"fine", "simclr"} <= names(registry, "methods")
    (failure,) = [f for f in registry.failures if f.plugin.dist == "broken"]
    assert failure.phase == "import"
    assert failure.error == "ModuleNotFoundError: No module named 'nowhere_to_be_found'"
    assert "brokenmod.py" in failure.traceback
    assert failure.plugin.version == "1.0"


def test_a_plugin_that_exits_at_import_is_a_failure(install: Install) -> None:
    install("leaver", leavermod="raise SystemExit(3)")

    assert failures(Registry.load(), "leaver") == [("import", "SystemExit: 3")]


def test_a_hook_that_raises_keeps_what_it_offered_before(install: Install) -> None:
    install("halfway", halfwaymod=OFFERS.format(name="first") + "    raise RuntimeError('no more')\n")

    registry = Registry.load()

    assert "first" in names(registry, "methods")
    assert failures(registry, "halfway") == [("bench_methods", "RuntimeError: no more")]


def test_a_misspelt_hook_is_a_failure_with_a_suggestion(install: Install) -> None:
    install("typo", typomod="from bench.api import hookimpl\n@hookimpl\ndef bench_method(): return ()\n")

    ((phase, error),) = failures(Registry.load(), "typo")

    assert phase == "register"
    assert error.startswith("no hook is named 'bench_method'. Did you mean 'bench_methods'")


def test_an_unmarked_hook_is_a_failure(install: Install) -> None:
    install("bare", baremod="def bench_methods(): return ()\n")

    assert failures(Registry.load(), "bare") == [
        ("register", "bench_methods is not marked as a hook. Write @hookimpl above it.")
    ]


def test_a_hook_with_an_unknown_argument_is_a_failure(install: Install) -> None:
    install(
        "wants", wantsmod="from bench.api import hookimpl\n@hookimpl\ndef bench_methods(more): return ()\n"
    )

    ((phase, error),) = failures(Registry.load(), "wants")

    assert phase == "register"
    assert error.startswith("PluginValidationError")


@pytest.mark.parametrize(
    ("offer", "error"),
    [
        ("'simclr'", "'simclr' is not an Offer or a Family."),
        ("Offer('a:b', 'm:C', 's')", "'a:b' cannot be a name."),
        ("Offer('a', 'm.C', 's')", "'m.C' is not a target."),
        ("Offer('a', 'm:', 's')", "'m:' is not a target."),
        ("Offer('a', '.m:C', 's')", "'.m:C' leads out of the package."),
        ("Family('a', 'm:C', 's', 'names')", "'names' is not a target."),
    ],
)
def test_a_malformed_offer_is_a_failure_and_the_next_is_kept(
    install: Install, offer: str, error: str
) -> None:
    text = OFFERS.format(name="kept").replace("yield", f"yield {offer}\n    yield", 1)
    install("crooked", crookedmod=text)

    registry = Registry.load()

    assert error in failures(registry, "crooked")[0][1]
    assert "kept" in names(registry, "methods")


def test_an_evaluator_cannot_be_named_like_a_part_of_set(install: Install) -> None:
    text = OFFERS.format(name="train").replace("bench_methods", "bench_evaluators")
    install("parts", partsmod=text)

    registry = Registry.load()

    assert "train" not in names(registry, "evaluators")
    assert "part of `--set`" in failures(registry, "parts")[0][1]


def test_a_name_offered_twice_by_one_distribution_is_a_failure(install: Install) -> None:
    install("twice", twicemod=OFFERS.format(name="it") + "    yield Offer('it', 'm:C', 'Again.')\n")

    registry = Registry.load()

    assert "offered twice" in failures(registry, "twice")[0][1]
    assert registry.find("methods", "it").summary == "What it does."


def test_two_distributions_may_have_one_entry_point_name(install: Install) -> None:
    install("one", point="same", onemod=OFFERS.format(name="first"))
    install("two", point="same", twomod=OFFERS.format(name="second"))

    assert {"first", "second"} <= names(Registry.load(), "methods")


def test_a_name_of_two_distributions_is_an_error_only_when_asked_for(install: Install) -> None:
    install("dist-one", onemod=OFFERS.format(name="twin"))
    install("dist.two", twomod=OFFERS.format(name="twin"))
    registry = Registry.load()

    assert registry.failures == ()
    with pytest.raises(UnknownName, match=r"dist-one:twin and dist\.two:twin"):
        registry.find("methods", "twin")
    assert registry.find("methods", "Dist_One:twin").dist == "dist-one"
    assert registry.find("methods", "ssl-bench:simclr").full_name == "ssl-bench:simclr"


def test_of_two_versions_of_a_distribution_the_first_on_the_path_is_used(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("upgraded", point="old", version="1.0", oldmod=OFFERS.format(name="old"))
    monkeypatch.syspath_prepend(tmp_path / "first")
    install(
        "Upgraded", point="new", version="2.0", folder=tmp_path / "first", newmod=OFFERS.format(name="new")
    )
    registry = Registry.load()
    found = [plugin for plugin in registry.plugins if plugin.dist.lower() == "upgraded"]

    assert [(plugin.id, plugin.version) for plugin in found] == [("Upgraded:new", "2.0")]
    assert "new" in names(registry, "methods")
    assert "old" not in names(registry, "methods")
    assert registry.failures == ()


def test_what_a_newer_version_offers_no_more_is_not_taken_from_the_one_that_it_shadows(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("upgraded", version="1.0", oldmod=OFFERS.format(name="old"))
    monkeypatch.syspath_prepend(tmp_path / "first")
    install("upgraded", version="2.0", folder=tmp_path / "first", newmod="")
    (tmp_path / "first" / "upgraded-2.0.dist-info" / "entry_points.txt").unlink()

    assert not [plugin for plugin in Registry.load().plugins if plugin.dist == "upgraded"]


@pytest.mark.parametrize("blocked", ["bad", "badpoint", "bad:badpoint"])
def test_a_blocked_plugin_is_never_imported(install: Install, tmp_path: Path, blocked: str) -> None:
    install("bad", point="badpoint", badmod=f"open({str(tmp_path / 'imported')!r}, 'w').close()")

    registry = Registry.load([blocked])

    assert not (tmp_path / "imported").exists()
    (plugin,) = [p for p in registry.plugins if p.dist == "bad"]
    assert plugin.blocked
    assert registry.failures == ()


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    registry = Registry.load()

    with pytest.raises(UnknownName) as refused:
        registry.find("methods", "simclrr")
    assert str(refused.value).startswith("no method is named 'simclrr'. Did you mean 'simclr'?")
    with pytest.raises(UnknownName, match="Did you mean 'resnet18'") as refused:
        registry.find("backbones", "resnet_18")
    assert len(str(refused.value)) < 300


def test_an_unknown_name_hints_at_plugins_that_failed_or_are_disabled(install: Install) -> None:
    install("broken", brokenmod="1 / 0")
    registry = Registry.load(["datasets"])

    with pytest.raises(UnknownName) as refused:
        registry.find("methods", "mine")
    assert "Failed to load: broken:point (see `bench plugins doctor`)." in str(refused.value)
    assert "Disabled: ssl-bench:datasets." in str(refused.value)


def test_a_family_is_not_one_of_its_members() -> None:
    with pytest.raises(UnknownName, match="is a family of"):
        Registry.load().find("backbones", "timm")


def test_a_plain_offer_goes_before_a_family(install: Install) -> None:
    family = "yield Family('lib', 'm:C', 's', 'namesmod:names')\n    yield"
    text = OFFERS.format(name="both").replace("bench_methods", "bench_backbones").replace("yield", family, 1)
    install("mine", minemod=text, namesmod="def names(): return ['both', 'other']")

    assert Registry.load().find("backbones", "both").member_of == ""
    assert Registry.load().find("backbones", "other").member_of == "lib"


@pytest.mark.parametrize(("kind", "name"), [("methods", "simclr"), ("backbones", "resnet18")])
def test_what_came_with_bench_goes_before_the_same_name_of_others(
    install: Install, kind: str, name: str
) -> None:
    text = OFFERS.format(name=name).replace("bench_methods", f"bench_{kind}")
    install("mine", minemod=text)
    registry = Registry.load()
    said = registry.describe_shadowed({kind: [name]})

    assert registry.find(kind, name).dist == "ssl-bench"
    assert registry.find(kind, f"mine:{name}").dist == "mine"
    assert said == [
        f"{name}: the {kind[:-1]} of bench is meant. mine 1.0 has one of this name, too: mine:{name}."
    ]
    assert registry.describe_shadowed({kind: ["another", f"mine:{name}"]}) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Requires-Dist: torch>=99", "it needs torch>=99, and torch "),
        (
            "Requires-Dist: not-there-at-all",
            "it needs not-there-at-all, which is not installed. Use pip",
        ),
        ("Requires-Python: >=4", "it needs Python >=4, and this is 3."),
    ],
)
def test_a_requirement_that_is_not_met_is_named_and_the_plugin_is_tried(
    install: Install, line: str, said: str
) -> None:
    install("needy", more=[line], needymod=OFFERS.format(name="needy"))
    registry = Registry.load()
    ((phase, error),) = failures(registry, "needy")

    assert phase == "requirements"
    assert error.startswith(said)
    assert "needy" in names(registry, "methods")


def test_a_plugin_for_another_bench_is_not_imported(install: Install, tmp_path: Path) -> None:
    mark = tmp_path / "imported"
    install("newer", more=["Requires-Dist: SSL_Bench>=99"], newermod=f"open({str(mark)!r}, 'w')")
    ((phase, error),) = failures(Registry.load(), "newer")

    assert phase == "requirements"
    assert error.startswith("it needs SSL_Bench>=99, and SSL_Bench ")
    assert not mark.exists()


@pytest.mark.parametrize(
    "line",
    [
        "Requires-Dist: torch>=1",
        "Requires-Dist: not-there; extra == 'test'",
        "Requires-Dist: not-there; python_version < '3'",
        "Requires-Dist: (((",
        "Requires-Python: what",
    ],
)
def test_what_is_met_asked_for_by_an_extra_or_cannot_be_read_is_no_failure(
    install: Install, line: str
) -> None:
    install("fine", more=[line], finemod=OFFERS.format(name="fine"))

    assert failures(Registry.load(), "fine") == []


def test_what_an_import_changes_of_the_process_is_put_back(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:

    before = Path.cwd()
    install("moves", movesmod="import os\nos.chdir('/')\n" + OFFERS.format(name="moves"))
    Registry.load()

    assert Path.cwd() == before
    assert "moves:point: the import changed the working directory. That was put back." in caplog.messages


def test_a_family_that_cannot_name_its_members_is_a_failure(install: Install) -> None:
    offer = "yield Family('lost', 'm:C', 's', 'nowhere_to_be_found:names')\n    yield"
    text = OFFERS.format(name="kept").replace("bench_methods", "bench_backbones").replace("yield", offer, 1)
    install("lost", lostmod=text)
    registry = Registry.load()

    assert registry.find("backbones", "resnet18").member_of == "timm"
    assert failures(registry, "lost") == []  # it was not asked: bench has one of the name
    with pytest.raises(UnknownName):
        registry.find("backbones", "of_nobody")
    assert [phase for phase, _ in failures(registry, "lost")] == ["names"]


def test_a_class_that_cannot_be_imported_is_told_in_one_line(install: Install) -> None:
    install("absent", absentmod=OFFERS.format(name="absent").replace("it:It", "absentmod:Missing"))

    with pytest.raises(BadPlugin) as refused:
        Registry.load().load_class("methods", "absent")
    start = "absent (of absent 1.0): absentmod:Missing cannot be imported (Attrib"
    assert str(refused.value).startswith(start)
    assert "\n" not in str(refused.value)


def test_a_class_of_another_kind_is_refused(install: Install) -> None:
    install("other", othermod=OFFERS.format(name="other").replace("it:It", "pathlib:Path"))

    with pytest.raises(BadPlugin, match=r"pathlib:Path is not a bench\.api\.Method"):
        Registry.load().load_class("methods", "other")


def test_every_kind_has_its_class() -> None:
    import bench.api

    bases = set(KINDS.values()) & {*bench.api.__all__}

    assert {"Method", "Backbone", "Dataset", "Evaluator", "Executor"} <= bases
    assert all(isinstance(getattr(bench.api, base), type) for base in bases)
    assert Registry.load().load_class("methods", "simclr").__name__ == "SimCLR"
