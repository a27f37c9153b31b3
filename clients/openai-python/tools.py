"""An answer as a call of a function of yours. (The demo model calls, but has not learnt to fill in the arguments.)"""

import json

from openai import OpenAI
from openai.types.chat import ChatCompletionFunctionToolParam
from picture import API_KEY, BASE_URL, picture_part

FILE_PLATE: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {
        "name": "file_plate",
        "description": "Files a nameplate in the inventory.",
        "parameters": {
            "type": "object",
            "properties": {
                "color": {"type": "string", "enum": ["red", "green", "blue", "yellow", "purple", "orange", "black", "cyan"]},
                "scratch": {"type": "boolean"},
            },
            "required": ["color", "scratch"],
            "additionalProperties": False,
        },
    },
}

client = OpenAI(base_url=BASE_URL, api_key=API_KEY)
answer = client.chat.completions.create(
    model=client.models.list().data[0].id,
    messages=[{"role": "user", "content": [picture_part(), {"type": "text", "text": "Describe the label as JSON."}]}],
    tools=[FILE_PLATE],
    tool_choice="required",
    temperature=0,
    max_tokens=128,
)
for call in answer.choices[0].message.tool_calls or ():
    if call.type == "function":
        print(call.function.name, json.loads(call.function.arguments))
