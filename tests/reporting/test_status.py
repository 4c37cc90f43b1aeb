from __future__ import annotations

from pathlib import Path

from made_records import make

from bench.reporting.status import describe_status


def test_status_counts_cells_and_gives_reasons_and_the_size_on_disk(tmp_path: Path) -> None:
    (tmp_path / "artifacts" / "k").mkdir(parents=True)
    (tmp_path / "artifacts" / "k" / "model").write_bytes(b"x" * 1500)
    records = [make(), make(seed=1), make("vicreg", backbone="a|b", status="skipped", reason="cannot work")]
    records += [make(seed=s, status="failed", reason="boom.\nDo this.") for s in (2, 3)]
    lines = describe_status(records, tmp_path).splitlines()

    assert lines[2].split() == ["simclr", "resnet18", "digits", "2", "2", "0"]
    assert lines[3].split() == ["vicreg", "a|b", "digits", "0", "0", "1"]
    assert "  boom. Do this. (simclr on resnet18/digits, knn, seed 2 and 1 more)" in lines
    assert "  cannot work (vicreg on a|b/digits, knn, seed 0)" in lines
    assert lines[-1] == f"artifacts: 1.5 kB in 1 file in {tmp_path / 'artifacts'}"


def test_status_without_artifacts_says_so(tmp_path: Path) -> None:
    assert describe_status([make()], tmp_path).endswith(
        f"artifacts: 0 B in 0 files in {tmp_path / 'artifacts'}"
    )
