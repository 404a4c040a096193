"""what the user named -> samples: a folder, a file, module:function, or random.

Source forms, judged in this order: `random[:N]`; `module:function`; ONNX test data; one sub-folder per input; a folder
(or file) of pictures, of numpy arrays, or a file of text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from deploycompress.data import arrays, functions, images, pipeline, synthetic, testsets, text
from deploycompress.data import labels as label_tables
from deploycompress.data import preprocess as presets
from deploycompress.data.conform import Conform
from deploycompress.data.judging import judge
from deploycompress.data.samples import Samples
from deploycompress.data.source import Files, Source, relative_name
from deploycompress.errors import DataRejectedError, UnsupportedError, UsageError
from deploycompress.records.progress import Track, silent
from deploycompress.records.reference import is_reference
from deploycompress.records.signature import Signature

_PACKED = (".zip", ".tar", ".gz", ".xz", ".bz2", ".tgz", ".7z", ".zst")
_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")
_KNOWN = (*images.SUFFIXES, *arrays.SUFFIXES, *text.SUFFIXES)
_READABLE = f"give {', '.join(_KNOWN)}, ONNX test data, module:function, or random"


def open(
    source: str,
    signature: Signature,
    *,
    preprocess: str | None = None,
    labels: Path | None = None,
    tokenizer: Path | None = None,
    limit: int | None = None,
    track: Track = silent,
) -> Samples:
    """Samples for a model with these inputs.

    Args:
        source: A folder, a file, `module:function`, `path/file.py:function`, `random` or `random:N`.
        signature: What the model takes.
        preprocess: For pictures: a preset or a file of `Preprocess` fields.
        labels: A table `file,<class index>`; by default one lying beside the samples, or their sub-folders.
        tokenizer: For text: the tokenizer file.
        limit: At most so many samples, spread over the source.
        track: Shows the progress of the pass that judges them.

    Raises:
        DataRejectedError: Nothing there, or not one usable sample; the reasons are given.
        UsageError: An option is missing, has no meaning for this source, or names nothing.
        UnsupportedError: The model's inputs cannot be made from this kind of source.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"a limit of {limit} samples leaves none", remedy="give a limit of 1 or more")
    conform = Conform.to(signature)
    if source == "random" or source.startswith("random:"):
        _refuse_unused(source, preprocess=preprocess, labels=labels, tokenizer=tokenizer)
        random = synthetic.open_random(source, conform)
        return judge(source, random, signature, limit=limit, valid_for_accuracy=False, track=track)
    path = Path(source)
    if is_reference(source) and not path.exists():
        _refuse_unused(source, preprocess=preprocess, labels=labels, tokenizer=tokenizer)
        return judge(source, functions.open_function(source, conform), signature, limit=limit, track=track)
    if not path.exists():
        raise DataRejectedError("there is no such file or folder", where=source, remedy="check the path")
    reader = _from_path(path, conform, preprocess, labels, tokenizer)
    return judge(source, reader, signature, limit=limit, track=track)


def _from_path(path: Path, conform: Conform, preset: str | None, table: Path | None, tokenizer: Path | None) -> Source:
    signature = conform.signature
    if path.is_dir() and (cases := testsets.find(path)):
        _refuse_unused(str(path), preprocess=preset, labels=table, tokenizer=tokenizer)
        return testsets.from_folders(cases, path, signature)
    if path.is_dir() and _has_input_folders(path, signature):
        _refuse_unused(str(path), preprocess=preset, tokenizer=tokenizer)
        return arrays.from_input_folders(path, conform, label_tables.find(path, (), table))
    folder, files = (path, _files_below(path)) if path.is_dir() else (path.parent, [path])
    kind = _kind(path, files)
    used = [file for file in files if file.suffix.lower() in kind]
    if kind is text.SUFFIXES:
        _refuse_unused(str(path), preprocess=preset, labels=table)
        read: Files | text.Sentences = text.open_sentences(used[0], signature, tokenizer)
        others = [file for file in files if file != used[0]]
    else:
        _refuse_unused(str(path), tokenizer=tokenizer, **({} if kind is images.SUFFIXES else {"preprocess": preset}))
        found = label_tables.find(folder, used, table)
        if kind is images.SUFFIXES:
            read = images.from_files(used, folder, _pipeline(preset, signature), found)
        else:
            read = arrays.from_files(used, folder, conform, found)
        tables = (found.path, folder / label_tables.BESIDE)
        others = [file for file in files if file.suffix.lower() not in kind and file not in tables]
    refused = tuple((relative_name(file, folder), _why_not(file, kind)) for file in others)
    return replace(read, refused=(*read.refused, *refused))


def _has_input_folders(folder: Path, signature: Signature) -> bool:
    places = [folder / arrays.folder_name(name) for name in signature.input_names]
    return any(place.is_dir() and any(place.glob("*.npy")) for place in places)


def _files_below(folder: Path) -> list[Path]:
    """Every file in the folder and its sub-folders, in order of their names; hidden ones are nobody's samples."""
    below = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in below if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _kind(path: Path, files: Sequence[Path]) -> tuple[str, ...]:
    """The suffixes of the kind of file that most of the files are; a table beside pictures or arrays does not count.

    Raises:
        DataRejectedError: None of the files is of a kind that can be read.
    """
    suffixes = Counter(file.suffix.lower() for file in files)
    for kind in sorted((images.SUFFIXES, arrays.SUFFIXES), key=lambda kind: -sum(suffixes[s] for s in kind)):
        if any(suffixes[suffix] for suffix in kind):
            return kind
    sentences = [file for file in files if file.suffix.lower() in text.SUFFIXES]
    if len(sentences) == 1:
        return text.SUFFIXES
    if len(sentences) > 1:
        raise DataRejectedError(
            f"it holds {len(sentences)} text files", where=str(path), remedy=f"name one: {sentences[0].name}"
        )
    if len(files) == 1:
        raise DataRejectedError(_why_not(files[0], _KNOWN), where=str(files[0]), remedy=_READABLE)
    found = ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in suffixes.most_common(4))
    raise DataRejectedError(
        f"no file in it can be read ({found})" if found else "the folder is empty", where=str(path), remedy=_READABLE
    )


def _why_not(file: Path, kind: Sequence[str]) -> str:
    suffix = file.suffix.lower()
    if suffix in _PACKED:
        return "it is an archive; unpack it first"
    if suffix in _PICKLES:
        return "it is a pickle, which runs code when read; save plain arrays (.npz)"
    if suffix in _KNOWN:
        return f"it is a {suffix} file among samples of another kind"
    return f"it is not one of {', '.join(kind)}"


def _pipeline(preset: str | None, signature: Signature) -> pipeline.Pipeline:
    chosen = presets.find(preset)
    if len(signature.inputs) != 1:
        raise UnsupportedError(
            f"pictures feed one input, the model has {len(signature.inputs)}", remedy="give arrays (.npz) instead"
        )
    return pipeline.settle(chosen, signature.inputs[0])


def _refuse_unused(source: str, **options: object) -> None:
    for name, value in options.items():
        if value is not None:
            raise UsageError(f"--{name} has no meaning for these samples", where=source, remedy="leave it out")
