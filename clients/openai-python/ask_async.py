"""Several questions about one picture, asked at once."""

import asyncio

from openai import AsyncOpenAI
from picture import API_KEY, BASE_URL, picture_part

QUESTIONS = ("What colour is the shape?", "What shape is on the label?", "What is the serial number?")


async def main() -> None:
    async with AsyncOpenAI(base_url=BASE_URL, api_key=API_KEY) as client:
        model = (await client.models.list()).data[0].id

        async def ask(question: str) -> str | None:
            answer = await client.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": [picture_part(), {"type": "text", "text": question}]}],
                temperature=0,
                max_tokens=16,
            )
            return answer.choices[0].message.content

        for question, answer in zip(QUESTIONS, await asyncio.gather(*map(ask, QUESTIONS)), strict=True):
            print(question, answer)


asyncio.run(main())
