"""Instances, and what COCO, TIFF, GeoJSON and pictures for people make of them."""
