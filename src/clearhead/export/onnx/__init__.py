"""A model as an ONNX folder: graphs written from its modules, compared, made smaller; what stands beside them."""
