"""RobustBench's networks, written anew from the names and the order of their layers; widths are free."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv(inside: int, outside: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, kernel, stride=stride, padding=(kernel - 1) // 2, bias=False)


class PostBlock(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(inside, outside, 3, stride), nn.BatchNorm2d(outside)
        self.conv2, self.bn2 = conv(outside, outside, 3), nn.BatchNorm2d(outside)
        changes = stride != 1 or inside != outside
        layers = [conv(inside, outside, 1, stride), nn.BatchNorm2d(outside)] if changes else []
        self.shortcut = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(residual + self.shortcut(x))


class PreBlock(nn.Module):
    """Version 2: the shortcut's convolution reads relu(bn1(x))."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inside), conv(inside, outside, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outside), conv(outside, outside, 3)
        if stride != 1 or inside != outside:
            self.shortcut = nn.Sequential(conv(inside, outside, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.bn1(x))
        kept = self.shortcut(a) if hasattr(self, "shortcut") else x
        return self.conv2(F.relu(self.bn2(self.conv1(a)))) + kept


class WideBlock(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inside), conv(inside, outside, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outside), conv(outside, outside, 3)
        self.convShortcut = None if inside == outside else conv(inside, outside, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.bn1(x))
        residual = self.conv2(F.relu(self.bn2(self.conv1(a))))
        return residual + (x if self.convShortcut is None else self.convShortcut(a))


def stage(block: type[nn.Module], count: int, inside: int, outside: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        *(block(inside if i == 0 else outside, outside, stride if i == 0 else 1) for i in range(count))
    )


class RbResNet(nn.Module):
    def __init__(self, counts: tuple[int, ...], widths: tuple[int, ...], classes: int, pre: bool = False) -> None:
        super().__init__()
        self.pre = pre
        self.conv1 = conv(3, widths[0], 3)
        if not pre:
            self.bn1 = nn.BatchNorm2d(widths[0])
        befores = (widths[0], *widths[:-1])
        for i, (count, before, width) in enumerate(zip(counts, befores, widths)):
            setattr(
                self, f"layer{i + 1}", stage(PreBlock if pre else PostBlock, count, before, width, 1 if i == 0 else 2)
            )
        if pre:
            self.bn = nn.BatchNorm2d(widths[-1])
        self.linear = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(x) if self.pre else F.relu(self.bn1(self.conv1(x)))
        out = self.layer4(self.layer3(self.layer2(self.layer1(out))))
        if self.pre:
            out = F.relu(self.bn(out))
        return self.linear(torch.flatten(F.avg_pool2d(out, 4), 1))


class Chain(nn.Module):
    def __init__(self, layer: nn.Sequential) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class RbWideResNet(nn.Module):
    def __init__(self, depth: int, factor: int, classes: int) -> None:
        super().__init__()
        count, widths = (depth - 4) // 6, (16 * factor, 32 * factor, 64 * factor)
        self.conv1 = conv(3, 16, 3)
        self.block1 = Chain(stage(WideBlock, count, 16, widths[0], 1))
        self.block2 = Chain(stage(WideBlock, count, widths[0], widths[1], 2))
        self.block3 = Chain(stage(WideBlock, count, widths[1], widths[2], 2))
        self.bn1 = nn.BatchNorm2d(widths[2])
        self.fc = nn.Linear(widths[2], classes)

    def forward(self, x: Tensor) -> Tensor:
        out = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(torch.flatten(F.avg_pool2d(F.relu(self.bn1(out)), 8), 1))
