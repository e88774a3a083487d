"""CROWN and alpha-CROWN: linear bounds, carried backwards through the graph."""
