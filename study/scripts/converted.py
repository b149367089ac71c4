"""The folders that `fcos-burn convert --format coco` writes."""

import json


def annotations_of(folder, split):
    """The annotations of a split. File names are relative to `folder`: those of two splits may be the same below their own."""
    annotations = json.loads((folder / "annotations" / f"instances_{split}.json").read_text())
    for image in annotations["images"]:
        image["file_name"] = f"images/{split}/{image['file_name']}"
    return annotations
