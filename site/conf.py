"""Sphinx: the site of the lessons, built offline from executed copies (`make site`)."""
author = "the authors of the lessons"
project = "See what a convolutional network sees"
extensions = ["myst_nb"]
nb_execution_mode = "off"  # the copies have been executed
myst_enable_extensions = ["dollarmath", "amsmath", "html_image"]
myst_heading_anchors = 3
exclude_patterns = ["data"]
html_theme = "sphinx_book_theme"
html_title = project
html_theme_options = {"show_navbar_depth": 1, "show_toc_level": 2, "use_download_button": True, "navbar_persistent": []}
html_static_path, html_css_files = ["style.css"], ["style.css"]
html_show_sourcelink = False
html_copy_source = True  # "download" gives the executed notebook
suppress_warnings = ["mystnb.unknown_mime_type", "misc.highlighting_failure"]
