#!/bin/sh
# One question about one picture, answered word by word. Usage: ask.sh [PICTURE] ["QUESTION"]
set -eu

base=${SIGHTLINE_BASE_URL:-http://127.0.0.1:8080/v1}
key=${SIGHTLINE_API_KEY:-none} # any word will do where the gateway has no keys
picture=${1:-$(dirname "$0")/../../server/sightline/demo/plates/plate-1.png}
question=${2:-What colour is the shape?}

model=$(curl -sSf "$base/models" -H "Authorization: Bearer $key" | grep -o '"id": *"[^"]*"' | head -n 1 | cut -d '"' -f 4)

# The picture goes in through standard input: it would be too long for an argument.
{
  printf '{"model": "%s", "stream": true, "temperature": 0, "max_tokens": 64, "messages": [{"role": "user", "content": [' "$model"
  printf '{"type": "image_url", "image_url": {"url": "data:image/png;base64,'
  base64 <"$picture" | tr -d '\n'
  printf '"}}, {"type": "text", "text": "%s"}]}]}' "$question"
} | curl -sSN --fail-with-body "$base/chat/completions" -H "Authorization: Bearer $key" -H "Content-Type: application/json" --data-binary @-
