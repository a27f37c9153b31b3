// openai-node against a limited key, with its own retries. Usage: node retry.mjs BASE_URL KEY COUNT [MAX_TOKENS]
import { createRequire } from "node:module";

const { default: OpenAI } = await import(createRequire(new URL("../../../clients/openai-node/", import.meta.url)).resolve("openai"));
const [baseURL, apiKey, count, maxTokens] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 3 });
const seen = { answered: 0, error: null };

try {
  for (let number = 0; number < Number(count); number++) {
    await client.chat.completions.create({
      model: "fake-vl",
      messages: [{ role: "user", content: `node ${number}` }],
      ...(maxTokens ? { max_tokens: Number(maxTokens) } : {}),
    });
    seen.answered++;
  }
} catch (error) {
  seen.error = error.constructor.name;
}
console.log(JSON.stringify(seen));
