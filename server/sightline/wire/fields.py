"""The names a chat request may carry, and those it may not, each with the reason.

OpenAI's come from its API reference (`CompletionCreateParams` of openai-python, compared by a test); the engine's from vLLM's "Extra
parameters" of the chat API. What reaches into the engine or the machine is refused, and so is every name nobody documents.
"""

import difflib

OPENAI = frozenset(
    """
    audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages metadata modalities
    model moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key prompt_cache_options prompt_cache_retention
    reasoning_effort response_format safety_identifier seed service_tier stop store stream stream_options temperature tool_choice tools
    top_logprobs top_p user verbosity web_search_options
    """.split()
)

ENGINE = frozenset(
    """
    add_generation_prompt add_special_tokens allowed_token_ids bad_words continue_final_message documents echo guided_choice
    guided_decoding_backend guided_grammar guided_json guided_regex guided_whitespace_pattern ignore_eos include_reasoning
    include_stop_str_in_output length_penalty logprob_token_ids min_p min_tokens priority prompt_logprobs repetition_detection
    repetition_penalty return_prompt_text return_token_ids return_token_offsets return_tokens_as_token_ids skip_special_tokens
    spaces_between_special_tokens stop_token_ids stream_interval structured_outputs thinking_token_budget top_k
    truncate_prompt_tokens truncation_side use_beam_search watermarking
    """.split()
)

OURS = frozenset({"cache"})

ACCEPTED = OPENAI | ENGINE | OURS

_TEMPLATE = "the chat template is part of the served model"
_MACHINE = "it reaches into the engine or its machine"
_IDENTITY = "a picture's identity is made from its pixels, never taken from a request"

REFUSED: dict[str, str] = {
    "api_base": _MACHINE,
    "api_key": "the key goes into the Authorization header",
    "base_url": _MACHINE,
    "cache_salt": "tenants are kept apart by their keys",
    "chat_template": _TEMPLATE,
    "chat_template_kwargs": _TEMPLATE,
    "data_parallel_rank": _MACHINE,
    "ec_transfer_params": _MACHINE,
    "image_embeds": _IDENTITY,
    "kv_transfer_params": _MACHINE,
    "media_io_kwargs": _MACHINE,
    "mm_payload": _MACHINE,
    "mm_processor_kwargs": _MACHINE,
    "multi_modal_data": _MACHINE,
    "multi_modal_uuids": _IDENTITY,
    "prompt_embeds": _MACHINE,
    "request_id": "send it as the x-request-id header",
    "return_mm_kwargs": _MACHINE,
    "routed_experts_prompt_start": _MACHINE,
    "session_id": _MACHINE,
    "user_config": _MACHINE,
    "uuid": _IDENTITY,
    "vllm_xargs": _MACHINE,
}

MESSAGE = frozenset("role content name tool_call_id tool_calls function_call refusal audio annotations reasoning reasoning_content".split())
STREAM_OPTIONS = frozenset({"include_usage", "include_obfuscation"})
PARTS: dict[str, frozenset[str]] = {  # content parts by type; a part of another type, or of none, never reaches the engine
    "text": frozenset({"type", "text", "prompt_cache_breakpoint"}),
    "refusal": frozenset({"type", "refusal"}),
    "image_url": frozenset({"type", "image_url", "prompt_cache_breakpoint"}),
}
IMAGE_URL = frozenset({"url", "detail"})
_LONGEST_NAME = 100
DETAILS = frozenset({"auto", "low", "high", "original"})


def is_refused(name: str) -> bool:
    return name in REFUSED or name.startswith("chat_template") or name.endswith("_embeds")


def shown(name: str) -> str:
    """`name` as far as an error repeats it, and as it is compared with others: a caller may send one of megabytes."""
    return name[:_LONGEST_NAME]


def why_not(name: str, known: frozenset[str]) -> str:
    """The sentence that tells a caller why `name` was refused, and the nearest right one if there is any."""
    refused, name = is_refused(name), shown(name)
    if refused:
        return f"{name!r} is not accepted: {REFUSED.get(name, _MACHINE)}."
    near = difflib.get_close_matches(name, known, 1, 0.6)
    return f"{name!r} is not a known parameter." + (f" Did you mean {near[0]!r}?" if near else "")
