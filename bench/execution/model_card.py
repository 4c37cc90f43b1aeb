"""The model card of an exported backbone: what it is, how it is loaded, how it was made, what it scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from bench.config import format_value

LOADING = {
    "timm": "from load import load  # in this folder\n\nmodel = load()",
    "torchvision": "from load import load  # in this folder\n\nmodel = load()",
    "safetensors": "# bench run --set backbone.weights=model.safetensors\n"
    'from safetensors.torch import load_file\n\nstate = load_file("model.safetensors")',
    "torchscript": 'import torch\n\nmodel = torch.jit.load("model.torchscript.pt")',
    "onnx": 'import onnxruntime\n\nsession = onnxruntime.InferenceSession("model.onnx")\n'
    'features = session.run(None, {"images": images})[0]',
}
WHOLE = '\n\n# or, as timm has it:\nmodel = timm.create_model("local-dir:.", pretrained=True)'


def write_card(about: Mapping[str, Any], files: Sequence[str]) -> str:
    """Return a model card in Markdown.

    Args:
        about: what `about.json` says.
        files: the names of what lies beside the card.
    """
    inputs = about["input"]
    numbers = {name: ", ".join(f"{value:.4g}" for value in inputs[name]) for name in ("mean", "std")}
    how = LOADING[about["format"]] + (WHOLE if "config.json" in files else "")
    shape = f"n, {inputs['channels']}, {inputs['image_size']}, {inputs['image_size']}"
    training = about["config"]["training"]
    trained = ", ".join(f"{name} {format_value(value)}" for name, value in training.items())
    changes = about["architecture"].get("changes") or ["none"]
    return f"""---
library_name: {about["format"]}
tags: [self-supervised-learning, feature-extraction]
---

# {about["method"]} {about["backbone"]} on {about["dataset"]}

A backbone of {about["params"]:,} parameters that gives {about["dim"]} features an image, trained by
{about["method"]} on {about["dataset"]} with seed {about["seed"]}. Key {about["key"]}.

## Load it

```python
{how}
```

It takes images ({shape}), float32, normalised:
(value - mean) / std of values in [0, 1], mean {numbers["mean"]}, std {numbers["std"]}.
What is changed of the library's network, so that it is the run's: {"; ".join(changes)}.

## How it was trained

{trained}. All settings, views included, are in `about.json`.

## What it scored

{_write_scores(about["scores"])}

Each number is of one seed, on the test images that the evaluator's protocol says. What it learned is what the
data shows: images of another kind, or of people, may be represented badly or unfairly, which these numbers do
not measure. The licence of the data it was trained on applies.
"""


def _write_scores(scores: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (one["dataset"], one["evaluator"], _write_amount(one), name, f"{value:.4g}")
        for one in scores
        for name, value in one["metrics"].items()
    ]
    headers = ("evaluated on", "by", "labels", "metric", "value")
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def _write_amount(score: Mapping[str, Any]) -> str:
    """Return how many of the labels a score is of; nothing where the evaluator takes no share."""
    if score.get("shots") is not None:
        return f"{score['shots']} a class"
    share = score["label_frac"]
    return "" if share is None else f"{100 * share:g} %"
