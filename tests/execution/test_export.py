"""The network that a method exports is what is saved and evaluated."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import Lab
from safetensors.torch import load_file
from torch import nn

from bench.execution.assembly import exported_state
from bench.storage.artifact_files import BACKBONE

PROBE = {"method": "probe", "backbone": "tiny"}


def test_the_exported_network_is_saved_and_evaluated(
    probing: Lab, probes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(method: Any) -> nn.Module:
        other = probes.Tiny(*method.backbone.built_for)
        for parameter in other.parameters():
            nn.init.constant_(parameter, 0.25)
        return other

    monkeypatch.setattr(probes.Probe, "export", export)
    (cell,) = probing.plan(**PROBE)
    (record,) = probing.run([cell])
    saved = load_file(probing.artifact(cell.keys.backbone) / BACKBONE)
    weights = [value for name, value in saved.items() if name.endswith(("weight", "bias"))]

    assert record["status"] == "ok"
    assert all(torch.equal(value, torch.full_like(value, 0.25)) for value in weights)


@pytest.mark.parametrize(
    ("exported", "message"),
    [
        (
            nn.Linear(3, 3),
            "Probe.export: the backbone has no 'bias'. Return a network built like self",
        ),
        (nn.Identity(), "Probe.export: the exported network has no 'first.bias'."),
    ],
)
def test_a_network_of_another_structure_is_refused_in_one_line_before_the_training(
    probing: Lab, probes: Any, monkeypatch: pytest.MonkeyPatch, exported: nn.Module, message: str
) -> None:
    monkeypatch.setattr(probes.Probe, "export", lambda _method: exported)
    (record,) = probing.run(probing.plan(**PROBE))
    (method,) = probes.MADE

    assert (record["status"], record["error"]["stage"], record["error"]["type"]) == (
        "failed", "pretrain", "CellError",
    )  # fmt: skip
    assert record["reason"].startswith(message)
    assert method.steps == 0


def test_the_error_names_what_is_too_much_and_what_has_another_shape() -> None:
    class Exporting(nn.Module):
        def __init__(self, exported: nn.Module) -> None:
            super().__init__()
            self.backbone, self.exported = nn.Linear(2, 3), exported

        def export(self) -> nn.Module:
            return self.exported

    larger = nn.Linear(2, 3)
    larger.register_buffer("more", torch.zeros(1))

    with pytest.raises(Exception, match=r"^Exporting\.export: the backbone has no 'more'\."):
        exported_state(Exporting(larger))
    with pytest.raises(Exception, match=r"'weight' has shape \(3, 4\), the backbone's has \(3, 2\)\."):
        exported_state(Exporting(nn.Linear(4, 3)))
