"""A run to be judged and rated: its style pack and config."""

from gold_style.styles import StylePack

STYLES = {
    "name": "joseon",
    "neutral": "none",
    "untagged": "none",
    "styles": {
        "chosun": {"rule": "조선시대 말투로 답하라.", "verdict": "joseon"},
        "none": {"rule": "오늘날의 존댓말로 답하라.", "verdict": "modern"},
    },
}
PACK = StylePack.from_settings(STYLES)
CONFIG = {"styles": STYLES, "model": {"teacher": "Qwen/Qwen2.5-3B-Instruct", "student": "Qwen/Qwen2.5-1.5B"}}
