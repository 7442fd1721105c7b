"""Networks trained with PyTorch. Needs the extra `train-deep`; only deep recipes import this."""
