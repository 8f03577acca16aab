"""Trains the landmark detector on synthetic subjects and writes its weights.

    python tools/train_landmarks.py --out=FOLDER [--heads=6000] [--seed=0]
"""
