"""An answer as an object: the engine can write nothing but JSON of the model's schema, and the SDK parses it."""

from typing import Literal

from openai import OpenAI
from picture import API_KEY, BASE_URL, picture_part
from pydantic import BaseModel


class Plate(BaseModel):
    serial: str
    color: Literal["red", "green", "blue", "yellow", "purple", "orange", "black", "cyan"]
    shape: Literal["circle", "square", "triangle", "star"]
    scratch: bool


client = OpenAI(base_url=BASE_URL, api_key=API_KEY)
answer = client.chat.completions.parse(
    model=client.models.list().data[0].id,
    messages=[{"role": "user", "content": [picture_part(), {"type": "text", "text": "Describe the label as JSON."}]}],
    response_format=Plate,
    temperature=0,
    max_tokens=64,
)
plate = answer.choices[0].message.parsed
print(repr(plate))
