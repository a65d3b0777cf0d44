"""The rows of Spotrak's tables, made in chunks of columns; one module for each part of the business."""
