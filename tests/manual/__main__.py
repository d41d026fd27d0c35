"""The command that brings the generated parts up to date: `python -m tests.manual`."""

from .generated import DOCUMENTS, updated

for path in DOCUMENTS:
    text = path.read_text()
    if (current := updated(text)) != text:
        path.write_text(current)
        print(f"written: {path.name}")  # noqa: T201 -- the command's answer
