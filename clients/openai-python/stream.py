"""An answer word by word, as it is written, and its usage at the end."""

from openai import OpenAI
from picture import API_KEY, BASE_URL, picture_part

client = OpenAI(base_url=BASE_URL, api_key=API_KEY)
stream = client.chat.completions.create(
    model=client.models.list().data[0].id,
    messages=[{"role": "user", "content": [picture_part(), {"type": "text", "text": "Describe the label as JSON."}]}],
    temperature=0,
    max_tokens=64,
    stream=True,
    stream_options={"include_usage": True},
)
for chunk in stream:
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)
    if chunk.usage:
        print(f"\n{chunk.usage.prompt_tokens} prompt tokens, {chunk.usage.completion_tokens} completion tokens")
