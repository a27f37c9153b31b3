// What the examples share: a client for Sightline, and the picture given on the command line (or a bundled plate) as a message part.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import OpenAI from "openai";

const PLATE = fileURLToPath(new URL("../../server/sightline/demo/plates/plate-1.png", import.meta.url));

export const client = new OpenAI({
  baseURL: process.env.SIGHTLINE_BASE_URL ?? "http://127.0.0.1:8080/v1",
  apiKey: process.env.SIGHTLINE_API_KEY ?? "none", // any word will do where the gateway has no keys
});

export function picturePart() {
  const bytes = readFileSync(process.argv[2] ?? PLATE);
  // The declared type does not matter: Sightline looks at the bytes.
  return { type: "image_url", image_url: { url: `data:image/png;base64,${bytes.toString("base64")}` } };
}
