"""Convolutions for small images on a CPU: machine code made with LLVM, and the layers that use it."""
