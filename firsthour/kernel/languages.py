"""Languages: the codes of ISO 639-1, and common names."""

import re
import unicodedata
from typing import Final

_NAME_MAX: Final = 100  # characters read
_CODE: Final = re.compile(r"[a-z]{2,3}", re.ASCII).fullmatch

_CODES = """
aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo es
et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj
kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv
ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti
tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
"""

CODES: Final = frozenset(_CODES.split())

# Two-letter code, then three-letter codes and names in English and in the language itself.
_NAMES = """
ar ara | arabic | العربية
bg bul | bulgarian | български
ca cat | catalan | català
cs ces | cze | czech | čeština
da dan | danish | dansk
de deu | ger | german | deutsch
el ell | gre | greek | ελληνικά
en eng | english
es spa | spanish | español | castellano
et est | estonian | eesti
fi fin | finnish | suomi
fr fra | fre | french | français
he heb | hebrew | עברית
hi hin | hindi | हिन्दी
hr hrv | croatian | hrvatski
hu hun | hungarian | magyar
id ind | indonesian | bahasa indonesia
it ita | italian | italiano
ja jpn | japanese | 日本語
ko kor | korean | 한국어
lt lit | lithuanian | lietuvių
lv lav | latvian | latviešu
nl nld | dut | dutch | nederlands | flemish
no nor | norwegian | norsk
pl pol | polish | polski
pt por | portuguese | português
ro ron | rum | romanian | română
ru rus | russian | русский
sk slk | slo | slovak | slovenčina
sl slv | slovenian | slovenščina
sr srp | serbian | српски
sv swe | swedish | svenska
th tha | thai | ไทย
tr tur | turkish | türkçe
uk ukr | ukrainian | українська
vi vie | vietnamese | tiếng việt
zh zho | chi | chinese | mandarin | 中文
"""


def _by_name() -> dict[str, str]:
    rows = (row.split(" ", 1) for row in _NAMES.strip().splitlines())
    return {name.strip(): code for code, names in rows for name in names.split("|")}


BY_NAME: Final = _by_name()
"""Lower-case name or three-letter code to two-letter code."""


def language_code(text: str) -> str:
    """Return the code of a code, tag or common name (`DE`, `de-AT`, `deu` and `German` are `de`).

    An unknown word is returned in lower case.
    """
    lower = unicodedata.normalize("NFC", " ".join(text[:_NAME_MAX].split())).lower()
    primary = lower.replace("_", "-").partition("-")[0]
    code = BY_NAME.get(lower) or BY_NAME.get(primary)
    if code is not None:
        return code
    return primary if _CODE(primary) else lower
