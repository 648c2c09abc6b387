"""CodeCarbon's settings as CodeCarbon finds them, and what Python makes of INI texts.

Standard input: JSON, a list of texts of `.codecarbon.config`. Prints a JSON object: `here`, the settings of this
process (its home directory, its current one, its environment), each with its value and source; `texts`, for each text
the section as a dictionary, or null where Python refuses it.
"""

import configparser
import json
import sys

from codecarbon.core.config import CONFIG_SECTION, get_hierarchical_config_with_sources


def section(text):
    parser = configparser.ConfigParser()
    try:
        parser.read_string(text)
        return dict(parser[CONFIG_SECTION]) if parser.has_section(CONFIG_SECTION) else {}
    except configparser.Error:
        return None


config, sources = get_hierarchical_config_with_sources()
here = {key: {"value": config[key], "source": sources[key]} for key in config}
json.dump({"here": here, "texts": [section(text) for text in json.load(sys.stdin)]}, sys.stdout)
