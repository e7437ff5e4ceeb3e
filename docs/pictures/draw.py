"""Draws the pictures of the concept pages: python docs/pictures/draw.py

Each picture is an SVG with a card of its own behind it, light or dark as the reader's system is, and a title for screen readers.
"""

import math
from pathlib import Path

HERE = Path(__file__).resolve().parent
STYLE = """<style>
  .card{fill:#fff;stroke:#d0d7de} text{font:14px system-ui,sans-serif;fill:#1f2328} .small{font-size:12px;fill:#59636e}
  .box{fill:#f6f8fa;stroke:#8c959f} .teacher{fill:#ddf4ff;stroke:#0969da} .student{fill:#fff1e5;stroke:#bc4c00}
  .secret{fill:#fbefff;stroke:#8250df}
  .line{fill:none;stroke:#59636e;stroke-width:1.5} .t{fill:none;stroke:#0969da;stroke-width:2.5}
  .s{fill:none;stroke:#bc4c00;stroke-width:2.5}
  .dash{stroke-dasharray:5 4} .head{fill:#59636e}
  @media (prefers-color-scheme: dark){
    .card{fill:#161b22;stroke:#30363d} text{fill:#e6edf3} .small{fill:#9198a1}
    .box{fill:#21262d;stroke:#6e7681} .teacher{fill:#0c2d4d;stroke:#4493f8}
    .student{fill:#3d1f0a;stroke:#f0883e} .secret{fill:#2d1a47;stroke:#ab7df8}
    .line{stroke:#9198a1} .t{stroke:#4493f8} .s{stroke:#f0883e} .head{fill:#9198a1}
  }
</style>"""
HEAD = """<defs><marker id="a" markerWidth="9" markerHeight="9" refX="8" refY="4" orient="auto">
  <path class="head" d="M0,0 L9,4 L0,8 z"/></marker></defs>"""


def picture(name: str, title: str, width: int, height: int, *parts: str) -> None:
    """Write one picture."""
    card = f'<rect class="card" x="1" y="1" width="{width - 2}" height="{height - 2}" rx="10"/>'
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="t">'
    text = "\n".join([head, f'<title id="t">{title}</title>', STYLE, HEAD, card, *parts, "</svg>", ""])
    (HERE / f"{name}.svg").write_text(text, encoding="utf-8")


def text(x: float, y: float, said: str, kind: str = "", anchor: str = "middle") -> str:
    said = said.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{said}</text>'


def box(x: float, y: float, width: float, height: float, kind: str, *lines: str) -> str:
    """A box with its lines of text in the middle; the second and later ones are small."""
    top = y + height / 2 + 5 - 9 * (len(lines) - 1)
    said = [text(x + width / 2, top + 18 * number, line, "small" if number else "") for number, line in enumerate(lines)]
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>' + "".join(said)


def arrow(*points: tuple[float, float], kind: str = "line") -> str:
    way = " L".join(f"{x:g},{y:g}" for x, y in points)
    return f'<path class="{kind}" d="M{way}" marker-end="url(#a)"/>'


def curve(points: list[tuple[float, float]], kind: str) -> str:
    return f'<path class="{kind}" d="M' + " L".join(f"{x:.1f},{y:.1f}" for x, y in points) + '"/>'


def method() -> None:
    picture(
        "method",
        "The student reads tag and request and writes; the teacher also reads its system prompt, and scores each token",
        720,
        285,
        box(20, 95, 150, 60, "box", "tag + request", "<style:chosun> ..."),
        box(240, 30, 170, 60, "student", "student", "reads tag and request"),
        box(240, 160, 170, 60, "teacher", "teacher", "reads all three"),
        box(20, 180, 150, 50, "secret", "system prompt", "only the teacher's"),
        box(500, 30, 190, 60, "box", "answer", "the student's own tokens"),
        box(500, 160, 190, 60, "box", "a distribution per token", "what should come next"),
        arrow((170, 115), (238, 70)),
        arrow((170, 135), (238, 175)),
        arrow((170, 205), (238, 200)),
        arrow((410, 60), (498, 60)),
        arrow((560, 90), (405, 158)),
        arrow((410, 190), (498, 190)),
        arrow((600, 222), (600, 250), (200, 250), (200, 60), (238, 60), kind="line dash"),
        text(400, 268, "the student moves this way: its distributions towards the teacher's", "small"),
    )


def on_policy() -> None:
    rows = (("off-policy", "teacher", "someone else's text", "sentences that the student would never have begun"),)
    rows += (("on-policy", "student", "the student's own text", "the student is corrected where it goes wrong"),)
    parts = []
    for number, (name, kind, written, learned) in enumerate(rows):
        y = 25 + 95 * number
        parts += [text(20, y + 32, name, anchor="start"), box(120, y, 200, 52, kind, written, "is read by both models")]
        parts += [arrow((320, y + 26), (378, y + 26)), text(390, y + 31, learned, "small", "start")]
    picture("on_policy", "Off-policy, the student learns from text of others; on-policy, from its own text", 760, 200, *parts)


def beta() -> None:
    """A teacher with two ways to answer, and the normal distribution nearest to it by each divergence."""
    grid = [-6 + 12 * number / 240 for number in range(241)]

    def normal(x: float, mean: float, deviation: float) -> float:
        return math.exp(-(((x - mean) / deviation) ** 2) / 2) / (deviation * math.sqrt(2 * math.pi))

    teacher = [0.65 * normal(x, -2, 0.8) + 0.35 * normal(x, 2.2, 0.8) for x in grid]
    candidates = [(mean / 10, deviation / 10) for mean in range(-30, 31) for deviation in range(5, 36)]

    def divergence(one: list[float], other: list[float]) -> float:
        return sum(p * math.log(max(p, 1e-12) / max(q, 1e-12)) for p, q in zip(one, other, strict=True))

    shapes = {candidate: [normal(x, *candidate) for x in grid] for candidate in candidates}
    forward = min(candidates, key=lambda candidate: divergence(teacher, shapes[candidate]))
    reverse = min(candidates, key=lambda candidate: divergence(shapes[candidate], teacher))
    parts = []
    for place, (name, said, chosen) in enumerate(
        (
            ("beta 0: KL(teacher || student)", "covers all that the teacher may say", forward),
            ("beta 1: KL(student || teacher)", "settles on one way to say it", reverse),
        )
    ):
        left = 30 + 350 * place
        for values, kind in ((teacher, "t"), (shapes[chosen], "s")):
            parts.append(curve([(left + 26 * (x + 6), 180 - 250 * value) for x, value in zip(grid, values, strict=True)][::3], kind))
        parts += [f'<path class="line" d="M{left},180 h312"/>', text(left + 156, 30, name), text(left + 156, 202, said, "small")]
    parts += [text(350, 228, "blue: the teacher, with two ways to answer; orange: the nearest student that has room for one", "small")]
    picture("beta", "Beta 0 makes the student cover both ways of the teacher, beta 1 makes it choose one", 720, 245, *parts)


def tree() -> None:
    cuts = {"student": ["meth", "in", "ks"], "teacher": ["me", "think", "s"]}
    parts = []
    for row, (name, tokens) in enumerate(cuts.items()):
        x, y = 150.0, 30 + 90 * row
        parts.append(text(130, y + 28, name, anchor="end"))
        for token in tokens:
            width = 56.25 * len(token)
            parts.append(box(x, y, width - 6, 44, name, token))
            x += width
    for x in (147, 597):
        parts.append(f'<path class="line dash" d="M{x},20 V185"/>')
    parts += [
        text(147, 205, "a boundary of both", "small"),
        text(597, 205, "a boundary of both", "small"),
        text(372, 205, "in between: compared byte by byte", "small"),
    ]
    picture("tree", "Student and teacher cut the same word into other tokens; only the outer boundaries agree", 720, 225, *parts)


def numbers() -> None:
    def bar(y: float, name: str, value: float, kind: str) -> list[str]:
        return [
            text(170, y + 17, name, anchor="end"),
            f'<rect class="{kind}" x="180" y="{y}" width="{max(2, 400 * value):g}" height="24" rx="3"/>',
            text(190 + 400 * value, y + 17, f"{value:.2f}", "small", "start"),
        ]

    parts = [*bar(25, "under the style's tag", 0.73, "student"), *bar(60, "under the neutral tag", 0.01, "student")]
    parts += [
        text(170, 112, "margin = 0.73 - 0.01", anchor="end"),
        f'<path class="line" d="M{180 + 4},106 H{180 + 292}"/>',
        text(330, 126, "0.72", "small"),
    ]
    scale = 400 / 0.88
    parts += ['<path class="line" d="M180,185 H580"/>', text(170, 190, "gap closed", anchor="end")]
    for value, name, anchor in ((0.0, "before 0.00", "start"), (0.72, "after 0.72", "end"), (0.88, "teacher 0.88", "start")):
        parts += [
            f'<circle class="head" cx="{180 + scale * value:g}" cy="185" r="5"/>',
            text(180 + scale * value, 170, name, "small", anchor),
        ]
    parts += [text(180 + scale * 0.36, 205, "0.72 of 0.88: 81 %", "small")]
    picture(
        "numbers",
        "Margin is the rate under the tag less the rate under the neutral tag; gap closed is how far the student came towards the teacher",
        720,
        225,
        *parts,
    )


if __name__ == "__main__":
    for draw in (method, on_policy, beta, tree, numbers):
        draw()
