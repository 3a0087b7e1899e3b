"""Countries: the codes of ISO 3166-1, and common names."""

import unicodedata
from typing import Final

_NAME_MAX: Final = 100  # characters read

_CODES = """
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD
CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF
GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN
KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA
NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI
SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI
VN VU WF WS YE YT ZA ZM ZW
"""

CODES: Final = frozenset(_CODES.split())

# Three-letter code, then names in English, in the country's own languages, and as often written.
_NAMES = """
AE are | united arab emirates | uae
AR arg | argentina
AT aut | austria | österreich | oesterreich
AU aus | australia
BE bel | belgium | belgië | belgique | belgien
BG bgr | bulgaria | българия
BR bra | brazil | brasil
CA can | canada
CH che | switzerland | schweiz | suisse | svizzera | svizra
CL chl | chile
CN chn | china | people's republic of china | prc | 中国
CO col | colombia
CY cyp | cyprus | κύπρος
CZ cze | czechia | czech republic | česko | česká republika
DE deu | germany | deutschland | allemagne | ger | federal republic of germany
DK dnk | denmark | danmark
EE est | estonia | eesti
EG egy | egypt | مصر
ES esp | spain | españa | espana
FI fin | finland | suomi
FR fra | france | frankreich
GB gbr | united kingdom | uk | great britain | britain | england | scotland | wales | northern ireland | u.k.
GR grc | greece | el | ελλάδα | hellas
HK hkg | hong kong | 香港
HR hrv | croatia | hrvatska
HU hun | hungary | magyarország
ID idn | indonesia
IE irl | ireland | éire | republic of ireland
IL isr | israel | ישראל
IN ind | india | भारत
IS isl | iceland | ísland
IT ita | italy | italia | italien
JP jpn | japan | 日本
KE ken | kenya
KR kor | south korea | korea | republic of korea | 대한민국 | 한국
LI lie | liechtenstein
LT ltu | lithuania | lietuva
LU lux | luxembourg | lëtzebuerg | luxemburg
LV lva | latvia | latvija
MA mar | morocco | maroc
MT mlt | malta
MX mex | mexico | méxico
MY mys | malaysia
NG nga | nigeria
NL nld | netherlands | the netherlands | nederland | holland
NO nor | norway | norge | noreg
NZ nzl | new zealand | aotearoa
PE per | peru | perú
PH phl | philippines | pilipinas
PK pak | pakistan
PL pol | poland | polska
PT prt | portugal
RO rou | romania | românia
RS srb | serbia | srbija | србија
RU rus | russia | russian federation | россия
SA sau | saudi arabia | ksa
SE swe | sweden | sverige
SG sgp | singapore
SI svn | slovenia | slovenija
SK svk | slovakia | slovensko
TH tha | thailand | ไทย
TR tur | turkey | türkiye | turkiye
TW twn | taiwan | 台灣 | 台湾
UA ukr | ukraine | україна
US usa | united states | united states of america | u.s. | u.s.a. | america
VN vnm | vietnam | viet nam | việt nam
ZA zaf | south africa | suid-afrika
"""


def _by_name() -> dict[str, str]:
    rows = (row.split(" ", 1) for row in _NAMES.strip().splitlines())
    return {name.strip(): code for code, names in rows for name in names.split("|")}


BY_NAME: Final = _by_name()
"""Lower-case name or three-letter code to two-letter code."""


def country_code(text: str) -> str | None:
    """Return the ISO 3166-1 alpha-2 code of a code or common name; None: it is unknown."""
    if text in CODES:
        return text
    name = " ".join(text[:_NAME_MAX].split())
    if name.upper() in CODES:
        return name.upper()
    return BY_NAME.get(unicodedata.normalize("NFC", name).lower())
