"""What the examples share: where Sightline is, and the picture given on the command line (or a bundled plate) as a message part."""

import base64
import mimetypes
import os
import sys
from pathlib import Path

from openai.types.chat import ChatCompletionContentPartImageParam

BASE_URL = os.environ.get("SIGHTLINE_BASE_URL", "http://127.0.0.1:8080/v1")
API_KEY = os.environ.get("SIGHTLINE_API_KEY", "none")  # any word will do where the gateway has no keys
PLATE = Path(__file__).parents[2] / "server/sightline/demo/plates/plate-1.png"


def picture_part() -> ChatCompletionContentPartImageParam:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PLATE
    encoded = base64.b64encode(path.read_bytes()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:{mimetypes.guess_type(path)[0]};base64,{encoded}"}}
