"""The literature as sentences: each published method is one composition of parts.

Defaults are the paper's where it names one, else the authors' configuration; where there is
neither, the docstring says so. Every parameter is checked, and printed in the objective's formula.
To add a method, write one function in the room it belongs to and one line in the table below.
"""

from collections.abc import Callable

from luce.objectives.presets.batch import (
    alpha_dpo,
    aot,
    aot_unpaired,
    beta_dpo,
    dr_dpo,
)
from luce.objectives.presets.divergences import chipo, fdpo
from luce.objectives.presets.dpo import (
    cdpo,
    discopop,
    dpo,
    dpo_nll,
    dpop,
    exo,
    gdpo,
    inpo,
    modpo,
    odpo,
    rebel,
    robust_dpo,
    wpo,
    xpo,
)
from luce.objectives.presets.gpo import (
    gpo_exponential,
    gpo_hinge,
    gpo_savage,
    gpo_square,
    gpo_truncated_quadratic,
    ipo,
    rso_hinge,
    rso_sigmoid,
)
from luce.objectives.presets.lengths import (
    ld_dpo,
    ln_dpo,
    rdpo,
    sampo,
    tdpo1,
    tdpo2,
)
from luce.objectives.presets.lists import (
    dpo_rw,
    exo_rw,
    infonca,
    lipo,
    nca_list,
    plackett_luce,
    rrhf,
)
from luce.objectives.presets.models import (
    bradley_terry,
    mixture,
    nll,
    sft,
)
from luce.objectives.presets.pointwise import (
    apo_down,
    apo_zero,
    bco,
    cal_dpo,
    kto,
    mpo,
    nca,
    sppo,
)
from luce.objectives.presets.reference_free import (
    alphapo,
    cpo,
    luce,
    luce_length_normalized,
    orpo,
    pbde_geometric,
    simper,
    simpo,
    slic,
)
from luce.types import CostFunction

OBJECTIVES: dict[str, Callable[..., CostFunction]] = {
    "dpo": dpo,
    "cdpo": cdpo,
    "robust_dpo": robust_dpo,
    "gdpo": gdpo,
    "exo": exo,
    "dpo_nll": dpo_nll,
    "dpop": dpop,
    "odpo": odpo,
    "modpo": modpo,
    "rebel": rebel,
    "wpo": wpo,
    "xpo": xpo,
    "inpo": inpo,
    "discopop": discopop,
    "chipo": chipo,
    "fdpo": fdpo,
    "ipo": ipo,
    "gpo_hinge": gpo_hinge,
    "gpo_square": gpo_square,
    "gpo_exponential": gpo_exponential,
    "gpo_truncated_quadratic": gpo_truncated_quadratic,
    "gpo_savage": gpo_savage,
    "rso_hinge": rso_hinge,
    "rso_sigmoid": rso_sigmoid,
    "luce": luce,
    "luce_length_normalized": luce_length_normalized,
    "pbde_geometric": pbde_geometric,
    "simpo": simpo,
    "slic": slic,
    "orpo": orpo,
    "cpo": cpo,
    "alphapo": alphapo,
    "simper": simper,
    "ln_dpo": ln_dpo,
    "rdpo": rdpo,
    "ld_dpo": ld_dpo,
    "sampo": sampo,
    "tdpo1": tdpo1,
    "tdpo2": tdpo2,
    "kto": kto,
    "bco": bco,
    "nca": nca,
    "sppo": sppo,
    "apo_zero": apo_zero,
    "apo_down": apo_down,
    "cal_dpo": cal_dpo,
    "mpo": mpo,
    "rrhf": rrhf,
    "plackett_luce": plackett_luce,
    "infonca": infonca,
    "nca_list": nca_list,
    "lipo": lipo,
    "exo_rw": exo_rw,
    "dpo_rw": dpo_rw,
    "aot": aot,
    "aot_unpaired": aot_unpaired,
    "dr_dpo": dr_dpo,
    "beta_dpo": beta_dpo,
    "alpha_dpo": alpha_dpo,
    "mixture": mixture,
    "sft": sft,
    "nll": nll,
    "bradley_terry": bradley_terry,
}
