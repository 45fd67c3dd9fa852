"""Networks as tables of data, registered in timm."""
