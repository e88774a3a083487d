"""The torch.export front door: a walk over ATen calls, with TorchScript's rules."""
