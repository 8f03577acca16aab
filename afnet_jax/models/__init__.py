"""The network: ResNet18 trunks, mask attention, importance weights, and how they are put together."""
