"""The rim: sockets, disks, ONNX Runtime. Each file implements one port; none knows another."""
