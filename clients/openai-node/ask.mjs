// One question about one picture, one answer, and what it cost.

import { client, picturePart } from "./picture.mjs";

const models = await client.models.list();
const answer = await client.chat.completions.create({
  model: models.data[0].id,
  messages: [{ role: "user", content: [picturePart(), { type: "text", text: "What colour is the shape?" }] }],
  temperature: 0,
  max_tokens: 16,
});
console.log(answer.choices[0].message.content);
console.log(`${answer.usage.prompt_tokens} prompt tokens, ${answer.usage.completion_tokens} completion tokens`);
