"""Figures: they draw arrays that a notebook computed, in one style; a module for each group of sections."""

from .style import CLASSES, NETWORKS, class_colour, figure, layer_grid, save
