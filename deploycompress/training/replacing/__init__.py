"""BERT-of-Theseus: modules of a trained network give way to smaller ones while it works."""
