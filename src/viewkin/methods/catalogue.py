"""The registry of learners and terms; a new one is one line here."""

from __future__ import annotations

from viewkin.methods.amdim import AMDIMConfig
from viewkin.methods.byol import BYOLConfig
from viewkin.methods.invp import InvPConfig
from viewkin.methods.iraug import IRAugConfig
from viewkin.methods.isif import ISIFConfig
from viewkin.methods.moco import MoCoConfig
from viewkin.methods.npid import NPIDConfig
from viewkin.methods.simclr import SimCLRConfig
from viewkin.methods.terms.eir import EIRConfig
from viewkin.methods.terms.interclr import InterCLRConfig
from viewkin.methods.terms.propagation import PropagationConfig
from viewkin.settings import Kinds

METHOD_CONFIGS: Kinds = {
    config.kind: config
    for config in (
        NPIDConfig,
        IRAugConfig,
        SimCLRConfig,
        MoCoConfig,
        BYOLConfig,
        EIRConfig,
        AMDIMConfig,
        InvPConfig,
        PropagationConfig,
        ISIFConfig,
        InterCLRConfig,
    )
}
"""``kind`` of each method -> its settings class; used to read stored recipes."""
