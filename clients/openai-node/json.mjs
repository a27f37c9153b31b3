// An answer as an object: the engine can write nothing but JSON of this schema.

import { client, picturePart } from "./picture.mjs";

const schema = {
  type: "object",
  properties: {
    serial: { type: "string" },
    color: { enum: ["red", "green", "blue", "yellow", "purple", "orange", "black", "cyan"] },
    shape: { enum: ["circle", "square", "triangle", "star"] },
    scratch: { type: "boolean" },
  },
  required: ["serial", "color", "shape", "scratch"],
  additionalProperties: false,
};

const models = await client.models.list();
const answer = await client.chat.completions.create({
  model: models.data[0].id,
  messages: [{ role: "user", content: [picturePart(), { type: "text", text: "Describe the label as JSON." }] }],
  response_format: { type: "json_schema", json_schema: { name: "plate", strict: true, schema } },
  temperature: 0,
  max_tokens: 64,
});
console.log(JSON.parse(answer.choices[0].message.content));
