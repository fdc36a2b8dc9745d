#!/usr/bin/env python
"""Export the student of an AAL checkpoint, without AAL.

    tools/export_student.py CONFIG CHECKPOINT OUT [--format FORMAT] [--ema] [--image-size N]

FORMAT is one of

    mmpretrain   a checkpoint (.pth) for mmpretrain.get_model, and its config, OUT with .py
    timm         a checkpoint for timm.create_model(checkpoint_path=OUT); .pth or .safetensors
    hub          OUT is a folder for the Hugging Face Hub, which timm loads as local-dir:OUT
    safetensors  the weights (.safetensors) by MMPretrain's names, and the config beside it
    onnx         an ONNX model (.onnx): normalised images to logits

None of them needs aal_plugin where it is loaded. Before a file is written, the logits of the
exported model on noise are compared with those of the AAL model. The last line that is printed is
the Python that loads the result.
"""

import argparse

from aal_plugin.process import plain_errors


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="the config that the checkpoint was trained with")
    parser.add_argument("checkpoint", help="a checkpoint of that training")
    parser.add_argument("out", help="the file to write, such as deit-s.pth")
    parser.add_argument("--format", default="mmpretrain", help="see above; by default mmpretrain")
    parser.add_argument(
        "--ema", action="store_true", help="export EMAHook's averaged weights, not the raw ones"
    )
    parser.add_argument(
        "--image-size",
        type=int,
        nargs="+",
        metavar="N",
        help="side of the student's images, or height and width; by default what the backbone or "
        "the test pipeline says",
    )
    args = parser.parse_args()
    # After the arguments: these imports take seconds.
    from aal_plugin.mm.export import export_student

    exported = export_student(
        args.config, args.checkpoint, args.out, args.ema, args.format, args.image_size
    )
    print(f"wrote {' and '.join(map(str, exported.files))}")
    print(*exported.notes, "load it with:", exported.load, sep="\n")


if __name__ == "__main__":
    with plain_errors():
        main()
