"""Drawing: overlays, coloured words, contact sheets, charts."""
