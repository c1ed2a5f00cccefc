"""Errors of the core, which name arguments, in terms of the command line, which has options."""

import re
from collections.abc import Collection

from mfcore.cli.options import FAMILIES, kinds_of

OUTPUTS = {"Linear": "linear", "ReLU": "relu", "Sigmoid": "sigmoid", "RatingRange": "range"}
REMEDIES = {
    "pass the training data that it was trained on, or fit a new model": "pass the same DATA, --test, --split"
    " and --validation or --patience (or none) as then"
}


def in_option_names(message: str, names: Collection[str]) -> str:
    """Return an error's message with options in place of arguments and classes.

    Parameters
    ----------
    message : str
        "MF: n_factors is 0; ..., e.g. batch_size=256 or mfcore.Adam()".
    names : collection of str
        The arguments that are options: "n_factors" stands for "--n-factors".

    Returns
    -------
    str
        "--n-factors is 0; ..., e.g. --batch-size 256 or --optimizer adam".
    """
    any_name = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    # Names of one word are words too: they count at the start, before "=", and as what "is" something.
    long_name = "|".join(name for name in map(re.escape, names) if "_" in name) or "(?!)"
    patterns = (
        r"(?:\boutput (?=[A-Z]))?(?P<call>\b[A-Za-z_.]+\([^()]*\))",
        rf"(?:\b[A-Z]\w*: )?\b(?P<set>{any_name})=(?P<value>'[^']*'|[-+.\w]+\b)",
        rf"(?:^|\b[A-Z]\w*(?:\.\w+)?: )(?P<first>{any_name})(?= is\b|:)",
        rf"(?:\b[A-Z]\w*(?:\.\w+)?: |(?<=\band ))(?P<is>{any_name})\b(?=\[| is\b)",
        rf"(?<![-./\w])(?P<long>{long_name})(?![/\w]|\.\w)",
    )
    for words, told in REMEDIES.items():
        message = message.replace(words, told)
    return re.sub("|".join(patterns), _replaced, message)


def _replaced(match: "re.Match[str]") -> str:
    if match["call"] is not None:
        return _chosen_by(match["call"]) or match[0]
    name = match["set"] or match["first"] or match["is"] or match["long"]
    option = f"--{name.replace('_', '-')}"
    if match["set"] is None:
        return option
    value = match["value"].strip("'")
    if value in ("True", "False"):
        return option if value == "True" else option.replace("--", "--no-", 1)
    return f"{option} {value}"


def _chosen_by(call: str) -> str | None:
    """Return the option that chooses a class; other calls are Python and stay so."""
    name, _, arguments = call.removeprefix("mfcore.").rstrip(")").partition("(")
    if name in OUTPUTS:
        return f"--output {OUTPUTS[name]}{'-sigmoid' if 'sigmoid' in arguments else ''}"
    for family in FAMILIES:
        for short_name, kind in kinds_of(family).items():
            if kind.__name__ == name and not arguments:
                return f"--{family} {short_name}"
    return None
