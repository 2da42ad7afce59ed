"""The refusal of pickled torch modules, and the lines that export one safely."""

from __future__ import annotations

from annotriage.errors import ModelError
from annotriage.model.spec import ModelSpec


def pickled_module(spec: ModelSpec) -> ModelError:
    """The refusal of a pickled or scripted torch module: loading one runs whatever code it holds. Says how to export it."""
    path = spec.model_path
    return ModelError(
        f"{path}: loading a pickled module would run whatever code it holds. Export it once, where you trust it:\n"
        "    import torch\n"
        f'    model = torch.load("{path.name}", map_location="cpu", weights_only=False).eval()  # or torch.jit.load\n'
        f"    batch = ({{0: torch.export.Dim('batch')}},)\n"
        f"    program = torch.export.export(model, (torch.zeros(2, {', '.join(map(str, spec.input.shape))}),), dynamic_shapes=batch)\n"
        f'    torch.export.save(program, "{path.stem}.pt2")\n'
        f'and set file = "{path.stem}.pt2" under [model]. Or save model.state_dict() with torch.save and set\n'
        f'    factory = "package.module:function"  # returns the untrained model\n    weights = "{path.stem}_weights.pt"'
    )
