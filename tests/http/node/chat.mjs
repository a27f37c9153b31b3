// openai-node against the gateway: prints one JSON object with what it saw. Usage: node chat.mjs BASE_URL
import { createRequire } from "node:module";

const { default: OpenAI } = await import(createRequire(new URL("../../../clients/openai-node/", import.meta.url)).resolve("openai"));
const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const ask = (text, more = {}) => ({ model: "fake-vl", messages: [{ role: "user", content: text }], ...more });
const seen = { models: [], json: null, stream: "", usage: null, error: null, midstream: null };

for await (const model of client.models.list()) seen.models.push(model.id);
seen.json = (await client.chat.completions.create(ask("json"))).choices[0].message.content;
const stream = await client.chat.completions.create(ask("stream", { stream: true, stream_options: { include_usage: true } }));
for await (const chunk of stream) {
  seen.stream += chunk.choices[0]?.delta.content ?? "";
  seen.usage = chunk.usage ?? seen.usage;
}
try {
  await client.chat.completions.create(ask("error", { model: "none" }));
} catch (error) {
  seen.error = { name: error.constructor.name, status: error.status, code: error.code, id: error.requestID };
}
try {
  for await (const _ of await client.chat.completions.create(ask("cut", { stream: true })));
} catch (error) {
  seen.midstream = { name: error.constructor.name, code: error.code };
}
console.log(JSON.stringify(seen));
