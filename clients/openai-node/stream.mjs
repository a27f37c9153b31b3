// An answer word by word, as it is written, and its usage at the end.

import { client, picturePart } from "./picture.mjs";

const models = await client.models.list();
const stream = await client.chat.completions.create({
  model: models.data[0].id,
  messages: [{ role: "user", content: [picturePart(), { type: "text", text: "Describe the label as JSON." }] }],
  temperature: 0,
  max_tokens: 64,
  stream: true,
  stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta.content ?? "");
  if (chunk.usage) {
    console.log(`\n${chunk.usage.prompt_tokens} prompt tokens, ${chunk.usage.completion_tokens} completion tokens`);
  }
}
