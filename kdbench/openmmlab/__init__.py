"""The only room that imports OpenMMLab: builds models, knows their features, trains, evaluates."""
