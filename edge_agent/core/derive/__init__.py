"""What is derived on the grid: fused and computed channels, features of windows, operating regimes.

    frames ─▶ fusion ─▶ expressions ─▶ features ─▶ regimes ─▶ frames with these channels as well
              redundant  derived        of windows  by
              sensors    channels       of frames   conditions

Each may use what stands before it, and the channels of the asset itself. `stage.Derive` runs them.
"""
