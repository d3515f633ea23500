"""What do the files of models look like?"""

from pathlib import Path

from gguf import GGUFWriter


def write_gguf(path: Path, *, context: int | None = None) -> None:
    """Write a model without any weights."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(path, "llama")
    if context is not None:
        writer.add_context_length(context)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
