"""The former address of utils.data.folders, for scripts written before the data had a wing."""

from utils.data.folders import Folder, ImageFolderError, image_folder, unpack

__all__ = ["Folder", "ImageFolderError", "image_folder", "unpack"]
