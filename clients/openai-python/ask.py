"""One question about one picture, one answer, and what it cost."""

from openai import OpenAI
from picture import API_KEY, BASE_URL, picture_part

client = OpenAI(base_url=BASE_URL, api_key=API_KEY)
answer = client.chat.completions.create(
    model=client.models.list().data[0].id,
    messages=[{"role": "user", "content": [picture_part(), {"type": "text", "text": "What colour is the shape?"}]}],
    temperature=0,
    max_tokens=16,
)
print(answer.choices[0].message.content)
if answer.usage:
    print(f"{answer.usage.prompt_tokens} prompt tokens, {answer.usage.completion_tokens} completion tokens")
