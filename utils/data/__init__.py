"""The data of the course: shipped with scikit-learn, installed or made here; only `openml` fetches.

Each set has a module of its own; notebooks say `from utils import data` and call what stands here.
"""

from utils.data.densities import make_densities as densities
from utils.data.digits import GREY_LEVELS, as_counts, digits
from utils.data.documents import documents, page_twin_for_scoring
from utils.data.folders import image_folder, unpack
from utils.data.glyphs import glyphs
from utils.data.mnist import mnist
from utils.data.openml import openml
from utils.data.scenes import scenes, twin_for_scoring
from utils.data.text import text

__all__ = [
    "GREY_LEVELS",
    "as_counts",
    "densities",
    "digits",
    "documents",
    "glyphs",
    "image_folder",
    "mnist",
    "openml",
    "page_twin_for_scoring",
    "scenes",
    "text",
    "twin_for_scoring",
    "unpack",
]
