"""Write the schema files anew from the event classes."""

import json
from pathlib import Path

from consumer.schemas import EVENTS, build_schema, file_name

if __name__ == "__main__":
    for event in EVENTS:
        text = json.dumps(build_schema(event), indent=2, ensure_ascii=False) + "\n"
        (Path(__file__).parent / file_name(event)).write_text(text, "utf-8")
