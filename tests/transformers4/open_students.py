"""Run by an environment with transformers 4: opens each student that is named and saves what it reads.

python open_students.py ASKED.pt READ.pt     ASKED: {directory: {"messages": [...], "ids": [...]}}
"""

import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

read = {}
for directory, asked in torch.load(sys.argv[1]).items():
    tokenizer, model = AutoTokenizer.from_pretrained(directory), AutoModelForCausalLM.from_pretrained(directory).eval()
    ids_BT = torch.tensor([asked["ids"]])
    with torch.no_grad():
        logits_BTV = model(ids_BT).logits.float()
        written_BT = model.generate(ids_BT, max_new_tokens=24)
    read[directory] = {
        "prompt": tokenizer.apply_chat_template(asked["messages"], add_generation_prompt=True, tokenize=True),
        "logits": logits_BTV[0],
        "written": written_BT[0].tolist(),
        "specials": tokenizer.all_special_tokens,
        "use_cache": model.config.use_cache,
        "dtype": str(model.dtype),
    }
torch.save(read, sys.argv[2])
