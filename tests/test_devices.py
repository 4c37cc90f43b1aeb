"""What not every device can do is done in one place: float64, and copies that the host does not wait for.

MPS has no float64, refuses a copy that changes device and type at once where one is float64, and a copy
from a temporary that nobody waits for may read what was freed (pytorch #189690). Nothing here has one, so
the source is read.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bench.system.device import exact_device, move_like, to_device

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path
    for folder in ("bench", "plugins")
    for path in (ROOT / folder).rglob("*.py")
    if "testing" not in path.parts
)
HOME = "bench/system/device.py"  # of what is done for every device
ON_THE_CPU = {  # functions whose tensors are on the CPU, or on a device that `exact_device` chose
    "bench/metrics/spectrum.py": {"centre_columns"},
    "bench/pretraining/channel_statistics.py": {"measure_channels"},
    "plugins/evaluators/finetune.py": {"_judge"},
    "plugins/evaluators/fitting/logistic.py": {"sharpen", "blocks"},
    "plugins/evaluators/geometry.py": {"alignment", "uniformity"},
    "plugins/evaluators/linear.py": {"judge"},
    "plugins/evaluators/linear_sgd.py": {"judge"},
}


def find_functions(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield each function with its name, and the module itself, without the functions that are inside."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node
    yield (
        "",
        ast.Module(body=[n for n in getattr(tree, "body", []) if not hasattr(n, "body")], type_ignores=[]),
    )


def find_faults(path: str, text: str) -> list[str]:
    """Return the lines of a source that not every device can run."""
    faults = set()
    for name, function in find_functions(ast.parse(text)):
        if path == HOME or name in ON_THE_CPU.get(path, ()):
            continue
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            if any(fault(call) for fault in (widens_on_a_device, makes_float64, moves_and_converts, hurries)):
                faults.add(f"{path}:{call.lineno} {ast.unparse(call)}")
    return sorted(faults)


def is_on_the_cpu(receiver: ast.expr) -> bool:
    """Tell whether what a method is called of was brought to the CPU, or to a device with float64."""
    return ".cpu()" in ast.unparse(receiver) or "exact" in ast.unparse(receiver)


def widens_on_a_device(call: ast.Call) -> bool:
    """Tell whether it is `x.double()` of what may be on any device; of a comparison made there, too."""
    return (
        isinstance(call.func, ast.Attribute) and call.func.attr == "double" and not is_on_the_cpu(call.func)
    )


def makes_float64(call: ast.Call) -> bool:
    """Tell whether float64 is asked for of a tensor, or on a device."""
    asked = {word.arg: ast.unparse(word.value) for word in call.keywords}
    if "float64" not in asked.get("dtype", ""):
        return False
    is_made_here = isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) in ("torch", "np")
    return "device" in asked if is_made_here else not is_on_the_cpu(call.func)


def moves_and_converts(call: ast.Call) -> bool:
    """Tell whether a copy may change device and type at once."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr != "to":
        return False
    words = {word.arg for word in call.keywords}
    return len(call.args) > 1 or ("dtype" in words and (call.args or "device" in words))


def hurries(call: ast.Call) -> bool:
    """Tell whether the host does not wait for a copy."""
    return any(word.arg == "non_blocking" for word in call.keywords)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_asks_of_a_device_what_only_some_can_do(path: Path) -> None:
    assert find_faults(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "y = x.double()",
        "y = (a == b).double().mean().cpu()",
        "y = x.mean(0, dtype=torch.float64)",
        "y = torch.zeros(3, dtype=torch.float64, device=x.device)",
        "y = x.to(device, torch.float32)",
        "y = x.to(device=device, dtype=kind)",
        "y = x.to(device, non_blocking=True)",
    ],
)
def test_the_reading_sees_each_kind(line: str) -> None:
    assert len(find_faults("plugins/other.py", f"def f():\n    {line}")) == 1
    assert len(find_faults("plugins/other.py", line)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "y = x.cpu().double()",
        "y = x.to(exact_device(device)).double()",
        "y = torch.zeros(3, dtype=torch.float64)",
        "y = x.to(device)",
        "y = x.to(x.dtype)",
    ],
)
def test_the_reading_lets_pass_what_every_device_can_do(line: str) -> None:
    assert find_faults("plugins/other.py", line) == []


def test_every_function_that_is_excepted_is_there() -> None:
    for path, names in ON_THE_CPU.items():
        there = {name for name, _ in find_functions(ast.parse((ROOT / path).read_text(encoding="utf-8")))}
        assert names <= there


def test_a_move_takes_the_device_and_the_type_of_another() -> None:
    x, wide = torch.rand(3, requires_grad=False), torch.rand(2, dtype=torch.float64)

    assert move_like(x, wide).dtype == torch.float64
    assert move_like(wide, x).dtype == torch.float32
    assert move_like(x, torch.empty(1, device="meta")).device.type == "meta"


def test_float64_is_computed_on_the_cpu_for_mps_alone() -> None:
    assert exact_device(torch.device("mps")) == torch.device("cpu")
    assert exact_device(torch.device("cuda:1")) == torch.device("cuda:1")
    assert to_device(torch.ones(2), torch.device("cpu")).tolist() == [1, 1]
