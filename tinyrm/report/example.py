"""The example of the model card: the saved model with `transformers` alone."""

from __future__ import annotations

from tinyrm.config import TinyRMConfig

# Each part of a row is tokenised on its own, as :mod:`tinyrm.prompting` does, so that no text can pass for the form.
_COMMON = """import string, torch
from transformers import AutoTokenizer, {auto}

FOLDER, FORM = ".", {form!r}  # where the model is: this folder, or its name on the hub
tok, model = AutoTokenizer.from_pretrained(FOLDER), {auto}.from_pretrained(FOLDER).eval()
encode = lambda text: tok(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]

def row(**texts):  # at most {max_tokens} tokens
    special, ids, kinds = {{"sep": [tok.sep_token_id], "mask": [tok.mask_token_id], {unused}}}, [tok.cls_token_id], [0]
    for literal, slot, *_ in string.Formatter().parse(FORM + "{{sep}}"):
        blank = " " * literal.endswith(" ")
        form, text = encode(literal.removesuffix(blank)), special.get(slot) or encode(blank + texts[slot])
        ids, kinds = ids + form + text, kinds + [0] * len(form) + [int(slot == "b")] * len(text)
    return {{"input_ids": torch.tensor([ids])}}{kinds}
"""
_KINDS = ' | ({"token_type_ids": torch.tensor([kinds])} if getattr(model.config, "type_vocab_size", 0) > 1 else {})'
_CLOZE = """
@torch.inference_mode()
def log_odds(prompt, a, b):  # natural log-odds that a is better: the mean over both orders
    def shown(a, b):
        inputs = row(prompt=prompt, a=a, b=b)
        logits = model(**inputs).logits[0, inputs["input_ids"][0].tolist().index(tok.mask_token_id)]
        return float(logits[encode({a!r})[0]] - logits[encode({b!r})[0]])
    return (shown(a, b) - shown(b, a)) / 2
"""
_SINGLE = """
@torch.inference_mode()
def log_odds(prompt, a, b):  # natural log-odds that a is better: the difference of two rewards
    one, other = (model(**row(prompt=prompt, response=text)).logits[0, 0] for text in (a, b))
    return float(one - other)
"""


def example(config: TinyRMConfig) -> str:
    """Python that defines `log_odds(prompt, a, b)`; it runs where the merged model lies."""
    cloze = config.objective.kind == "cloze"
    form = config.prompt.cloze if cloze else config.prompt.single
    common = _COMMON.format(
        auto=f"AutoModelFor{'MaskedLM' if cloze else 'SequenceClassification'}",
        form=form,
        max_tokens=config.prompt.max_tokens,
        unused='"unused": tok.convert_tokens_to_ids(["[unused0]"])' if "{unused}" in form else "",
        kinds=_KINDS if cloze and config.prompt.segments else "",
    )
    words = config.prompt.verbalizers
    return common + (_CLOZE.format(a=words.a, b=words.b) if cloze else _SINGLE)
