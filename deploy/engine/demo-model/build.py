"""Makes the untrained checkpoint: tokenizer, chat template, picture processor, and random weights of the shape that `train.py` teaches.

    python build.py FOLDER

The architecture is GLM-4.6V's (`Glm4vForConditionalGeneration`), a thousand times smaller, so vLLM serves it by the same code.
Its attention needs a head of 32, 64, 80, 96, 112 or 128 numbers, and the sections of the rotary embedding must sum to a quarter of it.
"""

import sys
from pathlib import Path
from random import Random

import plates
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Glm4vConfig,
    Glm4vForConditionalGeneration,
    Glm46VImageProcessor,
    Glm46VProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.glm46v.video_processing_glm46v import Glm46VVideoProcessor

TEMPLATE = Path(__file__).with_name("chat_template.jinja")
WIDTH = 128  # of the language model and of the vision tower
LAYERS = 3
VOCABULARY = 640
CONTEXT = 4096
# The fewest and most pixels a picture is scaled to, counted over the two frames that one picture is taken for.
PICTURE_SIZES = {"shortest_edge": 2 * 112 * 112, "longest_edge": 2 * 448 * 448}
MARKS = (
    "<|endoftext|> [MASK] [gMASK] [sMASK] <sop> <eop> <|system|> <|user|> <|assistant|> <|observation|> "
    "<|begin_of_image|> <|end_of_image|> <|begin_of_video|> <|end_of_video|> <|image|> <|video|> <think> </think> "
    "<tool_call> </tool_call> <tool_response> </tool_response> <arg_key> </arg_key> <arg_value> </arg_value>"
).split()
# Common words get tokens too, so that other prompts than the model's own are not spelt out byte by byte.
WORDS = (
    "the of and to in is that for it as was with be by on not he his but at are this have from or had an they which one you were all "
    "her she there would their we him been has when who will more no if out so said what up its about into than them can only other "
    "new some could time these two may then do first any my now such like our over me even most made after also did many before must "
    "through back years where much your way well down should because each just those people how too little state good very make world "
    "still own see men work long get here between both life being under never day same another know while last might us great old year "
    "off come since against go came right used take three"
).split()


def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE in which a capital or a digit is always a token of its own: a serial is six tokens, one a visual token."""
    tokens = Tokenizer(models.BPE())
    single = pre_tokenizers.Split(Regex(r"[A-Z0-9]| ?[a-z]+|[^A-Za-z0-9]"), "isolated")
    tokens.pre_tokenizer = pre_tokenizers.Sequence([single, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokens.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(MARKS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokens.train_from_iterator(_corpus(), trainer)
    tokens.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in MARKS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokens,
        eos_token=MARKS[0],
        pad_token=MARKS[0],
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT // 2,
        chat_template=TEMPLATE.read_text(encoding="utf-8"),
    )


def configuration(words: PreTrainedTokenizerFast) -> Glm4vConfig:
    number = words.convert_tokens_to_ids
    return Glm4vConfig(
        architectures=["Glm4vForConditionalGeneration"],
        text_config={
            "vocab_size": VOCABULARY,
            "hidden_size": WIDTH,
            "intermediate_size": 2 * WIDTH,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": WIDTH // 64,
            "num_key_value_heads": 2,
            "max_position_embeddings": CONTEXT,
            "rms_norm_eps": 1e-5,
            "pad_token_id": words.pad_token_id,
            "eos_token_id": ends(words),
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6], "partial_rotary_factor": 0.5},
        },
        vision_config={
            "depth": LAYERS,
            "hidden_size": WIDTH,
            "num_heads": WIDTH // 32,
            "out_hidden_size": WIDTH,
            "intermediate_size": 2 * WIDTH,
            "image_size": plates.WIDTH,
            "patch_size": plates.CELL // 2,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        image_token_id=number("<|image|>"),
        video_token_id=number("<|video|>"),
        image_start_token_id=number("<|begin_of_image|>"),
        image_end_token_id=number("<|end_of_image|>"),
        video_start_token_id=number("<|begin_of_video|>"),
        video_end_token_id=number("<|end_of_video|>"),
        tie_word_embeddings=False,
        dtype="float32",
    )


def ends(words: PreTrainedTokenizerFast) -> list[int]:
    """The tokens at which an answer is over: the text's end, and whoever speaks next."""
    return [words.convert_tokens_to_ids(mark) for mark in (MARKS[0], "<|user|>", "<|observation|>")]


def build(folder: Path) -> None:
    words = tokenizer()
    Glm46VProcessor(
        image_processor=Glm46VImageProcessor(size=PICTURE_SIZES),
        tokenizer=words,
        video_processor=Glm46VVideoProcessor(size=PICTURE_SIZES),
        chat_template=words.chat_template,
    ).save_pretrained(folder)
    torch.manual_seed(0)
    model = Glm4vForConditionalGeneration(configuration(words))
    model.generation_config.eos_token_id = ends(words)
    model.generation_config.pad_token_id = words.pad_token_id
    model.save_pretrained(folder)
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters")


def _corpus() -> list[str]:
    rng = Random(0)
    answers = [answer for _ in range(400) for answer in plates.answers(plates.imagine(rng)).values()]
    questions = [question for phrasings in plates.QUESTIONS.values() for question in phrasings]
    return [*answers, *questions * 400, *WORDS, *WORDS]


if __name__ == "__main__":
    build(Path(sys.argv[1]))
