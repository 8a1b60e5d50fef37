"""Drawing: overlays, coloured words, contact sheets, charts.

Arrays in, pictures and figures out; nothing here asks a model.
One comes here to change a drawing.
"""
