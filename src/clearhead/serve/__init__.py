"""An HTTP server of trained models, in the dialects that clients already speak; no torch where packed weights do."""
