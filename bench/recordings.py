"""Feeds that no file holds ready-made: windows and spectra of a recording, heads and tails of files.

Named as `bench/recordings.py:speech` on the command line, from the root of the repository.
"""

from __future__ import annotations

import wave
import zipfile
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from shared import SHARED

Feeds = Iterator[dict[str, NDArray[np.generic]]]

_WINDOWS = 48
_FIRST = 20  # the recording starts with silence
_BYTES_OF_EACH_END = 1024
_PADDING_TOKEN = 256


def speech(full_scale: float = 1.0) -> Feeds:
    """Inputs of silero_vad: 576 samples at 16 kHz, -1..1."""
    recording = _recording() * full_scale
    for start in range(_FIRST * 512, (_FIRST + _WINDOWS) * 512, 512):
        state = np.zeros((2, 1, 128), np.float32)
        yield {"input": recording[None, start : start + 576], "state": state, "sr": np.array(16_000, np.int64)}


def spectra(full_scale: float = 1.0) -> Feeds:
    """Inputs of gtcrn: short-time spectra, 512 samples with the root of a Hann window, real and imaginary part."""
    recording = _recording() * full_scale
    window = np.sqrt(np.hanning(513)[:-1])
    caches = {"conv_cache": (2, 1, 16, 16, 33), "tra_cache": (2, 3, 1, 1, 16), "inter_cache": (2, 1, 33, 16)}
    for start in range(_FIRST * 512, (_FIRST + _WINDOWS) * 512, 512):
        spectrum = np.fft.rfft(recording[start : start + 512] * window)
        parts = np.stack([spectrum.real, spectrum.imag], axis=-1)[None, :, None]
        yield {"mix": parts.astype(np.float32)} | {name: np.zeros(s, np.float32) for name, s in caches.items()}


def spectra_of_16_bits() -> Feeds:
    """The same from samples that were never divided by 32768: wrong."""
    return spectra(32768.0)


def heads_and_tails() -> Feeds:
    """Inputs of magika: the first and last 1,024 bytes of a file as tokens."""
    with zipfile.ZipFile(SHARED / "data/bytes/magika_files.zip") as archive:
        for name in sorted(name for name in archive.namelist() if not name.endswith("/")):
            content = np.frombuffer(archive.read(name).strip(), np.uint8).astype(np.int32)
            tokens = np.full(2 * _BYTES_OF_EACH_END, _PADDING_TOKEN, np.int32)
            head, tail = content[:_BYTES_OF_EACH_END], content[-_BYTES_OF_EACH_END:]
            tokens[: len(head)], tokens[len(tokens) - len(tail) :] = head, tail
            yield {"bytes": tokens[None]}


def _recording() -> NDArray[np.float32]:
    with wave.open(str(SHARED / "data/audio/librispeech_1272-141231-0002.wav")) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / np.float32(32768)
