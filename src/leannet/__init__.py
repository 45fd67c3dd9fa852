"""Light-weight image classifiers, registered in timm."""
