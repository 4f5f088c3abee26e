"""The checker that jaxtyping's import hook puts on every function under test: beartype, with ints allowed as floats.

(The hook's command line cannot be given beartype's options: it splits them at commas.)
"""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
