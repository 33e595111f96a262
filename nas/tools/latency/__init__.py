"""`nas latency`: what architectures take on a device, and the profile that predicts it elsewhere."""
