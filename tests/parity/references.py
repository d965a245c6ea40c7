"""PyTorch modules with timm's names, written from the papers: what our graphs are compared with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


class ResidualBlock(nn.Module):
    """Two or three convolutions beside a shortcut."""

    def __init__(self, sizes: list[tuple[int, int, int, int]]) -> None:
        super().__init__()
        self.count = len(sizes)
        for number, (inputs, outputs, size, stride) in enumerate(sizes, start=1):
            convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
            self.add_module(f"conv{number}", convolution)
            self.add_module(f"bn{number}", nn.BatchNorm2d(outputs))
        inputs, outputs = sizes[0][0], sizes[-1][1]
        stride = max(one[3] for one in sizes)
        self.downsample = (
            nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
            if stride != 1 or inputs != outputs
            else None
        )

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        shortcut = value if self.downsample is None else self.downsample(value)
        for number in range(1, self.count + 1):
            value = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(value))
            value = functional.relu(value + shortcut if number == self.count else value)
        return value


class ResNet(nn.Module):
    """ResNet with a classifier."""

    def __init__(self, depths: tuple[int, ...], *, bottleneck: bool, base_width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        channels = 64
        for stage, depth in enumerate(depths):
            width = 64 << stage
            blocks = []
            for index in range(depth):
                stride = 2 if stage and not index else 1
                if bottleneck:
                    inner = width * base_width // 64
                    sizes = [
                        (channels, inner, 1, 1),
                        (inner, inner, 3, stride),
                        (inner, 4 * width, 1, 1),
                    ]
                else:
                    sizes = [(channels, width, 3, stride), (width, width, 3, 1)]
                blocks.append(ResidualBlock(sizes))
                channels = sizes[-1][1]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, 1000)

    def taps(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the output of each stage for pixels from 0 to 1."""
        value = functional.relu(self.bn1(self.conv1((pixels - MEAN) / STD)))
        value = functional.max_pool2d(value, 3, 2, 1)
        taps = {}
        for number in range(1, 5):
            value = taps[f"layer{number}"] = self.get_submodule(f"layer{number}")(value)
        return taps


class Attention(nn.Module):
    """Multi-head attention with one projection for queries, keys and values."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = channels // 64
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        batch, tokens, channels = value.shape
        parts = self.qkv(value).reshape(batch, tokens, 3, self.heads, 64).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*parts)
        result: torch.Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, tokens, channels))
        return result


class LayerScale(nn.Module):
    """A factor for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value * self.gamma


class Perceptron(nn.Module):
    """Two linear layers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.fc2(functional.gelu(self.fc1(value)))
        return result


class Block(nn.Module):
    """A block of a transformer that normalises first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attn = Attention(channels)
        self.ls1 = LayerScale(channels)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = Perceptron(channels)
        self.ls2 = LayerScale(channels)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        value = value + self.ls1(self.attn(self.norm1(value)))
        return value + self.ls2(self.mlp(self.norm2(value)))


class PatchEmbedding(nn.Module):
    """Patches to tokens."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, 14, 14)


class Dinov2(nn.Module):
    """DINOv2's vision transformer, trained on images of 518 pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, channels))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + 37 * 37, channels))
        self.patch_embed = PatchEmbedding(channels)
        self.blocks = nn.ModuleList(Block(channels) for _ in range(12))
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def taps(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return each block's patch tokens as a feature map for pixels from 0 to 1."""
        patches = self.patch_embed.proj((pixels - MEAN) / STD)
        rows = patches.shape[-1]
        tokens = patches.flatten(2).transpose(1, 2)
        value = torch.cat([self.cls_token, tokens], dim=1) + self.positions(rows)
        taps = {}
        for number, block in enumerate(self.blocks):
            value = block(value)
            patch_tokens = self.norm(value)[:, 1:].transpose(1, 2)
            taps[f"blocks.{number}"] = patch_tokens.reshape(1, -1, rows, rows)
        return taps

    def positions(self, rows: int) -> torch.Tensor:
        """Return the position embeddings, resized as the networks' own code does."""
        if rows == 37:
            return self.pos_embed
        table = self.pos_embed[:, 1:].reshape(1, 37, 37, -1).permute(0, 3, 1, 2)
        resized = functional.interpolate(table, (rows, rows), mode="bicubic", align_corners=False)
        return torch.cat([self.pos_embed[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)


MAKERS: dict[str, Callable[[], Any]] = {
    "wide_resnet50_2": lambda: ResNet((3, 4, 6, 3), bottleneck=True, base_width=128),
    "resnet50": lambda: ResNet((3, 4, 6, 3), bottleneck=True),
    "resnet18": lambda: ResNet((2, 2, 2, 2), bottleneck=False),
    "dinov2_vits14": lambda: Dinov2(384),
    "dinov2_vitb14": lambda: Dinov2(768),
}


def make(name: str, seed: int = 0) -> Any:
    """Return a network of random weights and statistics that let signals through at every depth."""
    torch.manual_seed(seed)  # type: ignore[no-untyped-call, unused-ignore]
    network = MAKERS[name]()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.3, 2.0)
            if isinstance(module, nn.Linear):
                module.bias.normal_(0, 0.1)
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(module, LayerScale):
                module.gamma.uniform_(-0.5, 1.0)
            if isinstance(module, Dinov2):
                module.cls_token.normal_(0, 0.5)
                module.pos_embed.normal_(0, 0.5)
    return network.eval()
