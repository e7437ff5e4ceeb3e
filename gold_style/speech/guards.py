"""The guards by name, as the table of `endings.py` refers to them."""

from __future__ import annotations

from gold_style.speech import everyday as e
from gold_style.speech import homographs as h
from gold_style.speech import orders as o
from gold_style.speech import questions as q
from gold_style.speech.place import Guard

_STATEMENTS: tuple[Guard, ...] = (
    h.come,
    h.copula,
    h.entreaty,
    h.closed,
    h.outside,
    h.vowel,
    h.verb,
    h.humble,
    h.remark,
    h.promise,
    h.hortative,
    h.mse,
    h.exclaim,
    h.noun_ro,
    h.tell,
    h.sister,
    h.stemmed,
    h.praise,
    h.sigh,
    h.hearsay,
    h.servant,
)
_QUESTIONS: tuple[Guard, ...] = (q.rhetoric, q.rhetoric_ri, q.nyo, q.recall, q.adjective_go, q.dream, q.query, q.indignant)
_ORDERS: tuple[Guard, ...] = (o.sign, o.order, o.geora, o.offer, o.fear, o.shout, o.written_order, o.pledge)
_EVERYDAY: tuple[Guard, ...] = (e.wonder, e.told, e.polite, e.plain, e.spoken, e.linked, e.nominal)

GUARDS: dict[str, Guard] = {guard.__name__: guard for guard in (*_STATEMENTS, *_QUESTIONS, *_ORDERS, *_EVERYDAY)}
