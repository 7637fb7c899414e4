"""The architecture of EfficientNet-Lite0, which torchvision does not have."""
from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn


def _conv(ins: int, outs: int, kernel: int = 1, stride: int = 1, groups: int = 1, relu: bool = True) -> nn.Sequential:
    """Convolution, batch norm, ReLU6. At stride 2 TensorFlow pads even sizes more on the right and below than left
    and above; padding both sides alike shifts every map and cost accuracy on the data photographs (measured)."""
    parts = OrderedDict()
    if stride == 2:
        parts["pad"] = nn.ZeroPad2d(((kernel - 2) // 2, (kernel - 1) // 2) * 2)
    parts["conv"] = nn.Conv2d(ins, outs, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups, bias=False)
    parts["bn"] = nn.BatchNorm2d(outs, eps=1e-3)
    if relu:
        parts["relu"] = nn.ReLU6(inplace=True)
    return nn.Sequential(parts)


class InvertedResidual(nn.Module):
    """Widen (1x1), filter each channel by itself, narrow (1x1); added to the input where the shapes agree."""

    def __init__(self, ins: int, outs: int, kernel: int, stride: int, widen: int):
        super().__init__()
        if widen > 1:
            self.expand = _conv(ins, ins * widen)
        self.depthwise = _conv(ins * widen, ins * widen, kernel, stride, groups=ins * widen)
        self.project = _conv(ins * widen, outs, relu=False)
        self.residual = stride == 1 and ins == outs

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for part in self.children():
            y = part(y)
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excitation, ReLU6 for SiLU, stem and head fixed."""

    def __init__(self):
        super().__init__()
        blocks, ins = [_conv(3, 32, 3, 2)], 32
        for widen, outs, repeats, kernel, stride in _LITE0_STAGES:
            for i in range(repeats):
                blocks.append(InvertedResidual(ins, outs, kernel, stride if i == 0 else 1, widen))
                ins = outs
        self.features = nn.Sequential(*blocks, _conv(ins, 1280))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


_LITE0_STAGES = (
    (1, 16, 1, 3, 1), (6, 24, 2, 3, 2), (6, 40, 2, 5, 2), (6, 80, 3, 3, 2),
    (6, 112, 3, 5, 1), (6, 192, 4, 5, 2), (6, 320, 1, 3, 1),
)  # fmt: skip
