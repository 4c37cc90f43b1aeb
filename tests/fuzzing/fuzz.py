"""Give a target ever other bytes, led by what of the code they reach: `make fuzz`.

`python tests/fuzzing/fuzz.py TARGET [SECONDS]` runs one; without a target, each in a process of its own.
What ends one is written to `fuzz-TARGET-...` beside where it is run.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SECONDS = 60
HERE = Path(__file__).resolve()


def fuzz(name: str, seconds: int) -> None:
    """Run one target; the process ends here."""
    import atheris

    with atheris.instrument_imports(include=["bench", "bench_plugins", "yaml"]):
        from targets import TARGETS, list_seeds
    corpus = Path(f".fuzz/{name}")
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(list_seeds(name)):
        (corpus / f"seed-{number}").write_bytes(seed)
    flags = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=4096"]
    atheris.Setup([sys.argv[0], *flags, f"-artifact_prefix=fuzz-{name}-", str(corpus)], TARGETS[name])
    atheris.Fuzz()


def main() -> int:
    """Return how many targets were ended."""
    if len(sys.argv) > 1 and not sys.argv[1].isdecimal():
        fuzz(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else SECONDS)
    from targets import TARGETS

    seconds = sys.argv[1] if len(sys.argv) > 1 else str(SECONDS)
    ended = []
    for name in TARGETS:
        done = subprocess.run([sys.executable, str(HERE), name, seconds], check=False)
        ended += [name] if done.returncode else []
    said = f"ended: {', '.join(ended)}" if ended else f"none of {len(TARGETS)} targets was ended"
    sys.stdout.write(f"{said}\n")
    return len(ended)


if __name__ == "__main__":
    sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]
    sys.exit(main())
