"""Explorers: sliders and pictures, thin over methods and render. The only folder that imports ipywidgets."""
