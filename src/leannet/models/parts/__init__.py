"""What several networks are made of: timm's interface, MobileNetV2's building plan, the blocks of the CSE networks."""
