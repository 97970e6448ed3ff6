"""Configuration files in the form that oslo.config reads."""

import configparser
import io
from collections.abc import Mapping


def to_ini(sections: Mapping[str, Mapping[str, object]]) -> str:
    parser = configparser.RawConfigParser(default_section="")
    for name, options in sections.items():
        parser[name] = {key: str(value) for key, value in options.items()}
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()
