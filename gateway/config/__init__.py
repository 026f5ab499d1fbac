"""One YAML file -> a checked Configuration, or every error in it with line, column and a suggestion."""

from gateway.config.configuration import Bus, Configuration, TagPlan
from gateway.config.load import load, load_text

__all__ = ["Bus", "Configuration", "TagPlan", "load", "load_text"]
