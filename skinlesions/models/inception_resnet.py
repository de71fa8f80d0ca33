"""Inception-ResNet-v2 with 5, 10 and 5 residual blocks, as the published work describes it, out of the stock network.

The stock network of keras.applications has 10 blocks A (35 x 35 maps at 299 pixels), 20 blocks B (17 x 17) and
10 blocks C (8 x 8). Here each stage ends after its first half. All that is left keeps its layers, names and weights.
"""

import re

import keras

# Names that Keras gives by class and numbers on in each process.
AUTOMATIC = re.compile(
    r"(input_layer|conv2d|batch_normalization|activation|max_pooling2d|average_pooling2d|custom_scale_layer)(?:_(\d+))?"
)


def fixed_names(network: keras.Model) -> dict[str, str]:
    """Every layer's name in `network`, and its name in a process that has built no other network before."""
    numbers: dict[str, dict[str, int]] = {}
    fixed = {}
    for layer in network.layers:
        if found := AUTOMATIC.fullmatch(layer.name):
            numbers.setdefault(found[1], {})[layer.name] = int(found[2] or 0)
        else:
            fixed[layer.name] = layer.name
    for kind, numbered in numbers.items():
        first = min(numbered.values())
        for name, number in numbered.items():
            fixed[name] = kind if number == first else f"{kind}_{number - first}"
    return fixed


def truncated(stock: keras.Model) -> keras.Model:
    """The first 5, 10 and 5 blocks of the stock network, with copies of its layers and of their weights.

    Args:
        stock: keras.applications.InceptionResNetV2 without its top.

    Returns:
        A flat functional network; its layers are named as those of the stock network in a fresh process.
    """
    names = fixed_names(stock)
    made_by = {id(layer.output): layer for layer in stock.layers}
    # Where the stages of the stock network end, and the last layer that is kept of each. The stock network ends
    # on a block C without activation; the fifth, whose weights are taken, has one and keeps it.
    ends = {
        id(stock.get_layer("block35_10_ac").output): "block35_5_ac",
        id(stock.get_layer("block17_20_ac").output): "block17_10_ac",
        id(stock.get_layer("conv_7b").input): "block8_5_ac",
    }
    copies: dict[str, keras.layers.Layer] = {}
    outputs: dict[str, keras.KerasTensor] = {}

    def copied(tensor: keras.KerasTensor) -> keras.KerasTensor:
        """What `tensor` of the stock network is here, with all the layers that it takes."""
        layer = stock.get_layer(ends[id(tensor)]) if id(tensor) in ends else made_by[id(tensor)]
        if layer.name not in outputs:
            outputs[layer.name] = _applied(layer)
        return outputs[layer.name]

    def _applied(layer: keras.layers.Layer) -> keras.KerasTensor:
        if isinstance(layer, keras.layers.InputLayer):
            return keras.Input(layer.batch_shape[1:], name=names[layer.name])
        inputs = [copied(tensor) for tensor in layer.input] if isinstance(layer.input, list) else copied(layer.input)
        copies[layer.name] = type(layer).from_config(layer.get_config() | {"name": names[layer.name]})
        return copies[layer.name](inputs)

    output = copied(stock.output)
    network = keras.Model(copied(stock.input), output, name="inception_resnet_v2_5_10_5")
    for name, layer in copies.items():
        layer.set_weights(stock.get_layer(name).get_weights())
    return network


def inception_resnet(*, weights: str | None, input_shape: tuple[int, int, int]) -> keras.Model:
    """The trunk: preprocessed images [N, H, W, 3] in, maps of 1536 channels out.

    Args:
        weights: `imagenet` for those of the stock network's first blocks, by Keras' own download; None: random.
    """
    return truncated(keras.applications.InceptionResNetV2(include_top=False, weights=weights, input_shape=input_shape))
