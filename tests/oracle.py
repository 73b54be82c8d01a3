"""The method's losses written out literally: one modality after the other, pair by pair, triple by triple.

Slow and plain on purpose. It calls a model's networks one image set at a time,
never its `forward` or `loss_terms`, and follows the tables of method §3 and §6.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from mmsynth_tf.models import structure
from mmsynth_tf.models.modality_gan import ModalityGAN
from mmsynth_tf.models.stage import Batch
from mmsynth_tf.models.structure_gan import StructureGAN


def norm(a: tf.Tensor, b: tf.Tensor | float = 0.0) -> float:
    """‖a - b‖²: the mean over all elements of (a - b)²."""
    return float(np.mean((np.asarray(a, np.float64) - np.asarray(b, np.float64)) ** 2))


def structure_terms(model: StructureGAN, batch: Batch) -> dict[str, float]:
    """Method §3 for a batch of `StructureGAN`."""
    f, m = batch["structure"], batch["background"]
    mean, log_var = (np.asarray(x, np.float64) for x in model.encoder(f))
    z = tf.constant(mean + np.exp(0.5 * log_var) * batch["noise"].numpy(), tf.float32)
    z_g = batch["code"]
    f_r, f_g = model.decoder(z), model.decoder(z_g)
    m_r, m_g = model.mask_generator(f), model.mask_generator(f_g)
    d, fd = model.map_discriminator, model.code_discriminator
    return {
        "code_discriminator": norm(fd(z_g), 1) + norm(fd(z)),
        "map_discriminator": norm(d(f), 1) + norm(d(f_g)),
        "code_adversarial": norm(fd(z), 1),
        "map_adversarial": norm(d(f_g), 1),
        "moments": np.mean(mean) ** 2 + (np.mean(np.exp(0.5 * log_var)) - 1) ** 2,
        "divergence": 0.5 * np.mean(mean**2 + np.exp(log_var) - 1 - log_var),
        "reconstruction": norm(f, f_r),
        "reconstruction_outside": norm(f_r * m),
        "mask": norm(m, m_r),
        "mask_structure": norm(f * m_r) + norm(f_r * m_r) + norm(f_g * m_g),
    }


class ModalityOracle:
    """Method §6 for one row of a batch of `ModalityGAN`."""

    def __init__(self, model: ModalityGAN, row: Batch):
        self._model, self._row = model, row
        self._n, self._classes = model.num_modalities, model.num_classes
        self._f, self._m, self._l = row["structure"], row["background"], row["fusion_label"]
        self._x = [row["image"][:, i] for i in range(self._n)]
        self._labels = [row["label"][:, i] for i in range(self._n)]
        self._code = [model.image_encoder(x) for x in self._x]
        self._code_g = model.fusion_encoder(self._fused(self._f, self._m, self._l))
        self._x_g = [self._decode(self._code_g, i) for i in range(self._n)]
        self._code_of_x_g = [model.image_encoder(x) for x in self._x_g]
        pairs = list(itertools.permutations(range(self._n), 2))
        self._x_t = {(i, j): self._decode(self._code[i], j) for i, j in pairs}
        self._code_t = {(i, j): model.image_encoder(self._x_t[i, j]) for i, j in pairs}
        self._x_cr = {(j, i): self._decode(self._code_t[i, j], i) for i, j in pairs}

    def exact_terms(self) -> dict[str, float]:
        """Every term, its sums over all pairs and triples."""
        everything = range(self._n)
        ordered_pairs = list(itertools.permutations(everything, 2))
        triples = list(itertools.permutations(everything, 3))
        return self._terms(ordered_pairs, 1, triples, 1)

    def sampled_terms(self) -> dict[str, float]:
        """Every term, its sums over the pairs of the row, scaled up to all pairs and all triples."""
        pairs = list(zip(*(self._row[name][0].numpy() for name in ("pair_source", "pair_target")), strict=True))
        drawn = [(i, j, k) for (i, j), (same, k) in zip(pairs[::2], pairs[1::2], strict=True) if same == i]
        # ‖x_j - x_k‖² counts once as (i; j, k) and once as (i; k, j).
        triples = drawn + [(i, k, j) for i, j, k in drawn]
        count = self._n * (self._n - 1)
        return self._terms(pairs, count / len(pairs), triples, count * (self._n - 2) / max(1, len(triples)))

    def _terms(
        self, pairs: Sequence[tuple[int, int]], pair_scale: float, triples: Sequence, triple_scale: float
    ) -> dict[str, float]:
        def over_pairs(term: Callable[[int, int], float]) -> float:
            return pair_scale * sum(term(i, j) for i, j in pairs)

        x, x_g, code_of_x_g = self._x, self._x_g, self._code_of_x_g
        each = range(self._n)
        fd = self._model.feature_discriminator
        return {
            "discriminator_real": sum(norm(self._d(x[i]), 1) for i in each),
            "discriminator_synthetic": sum(norm(self._d(x_g[i])) for i in each),
            "discriminator_translated": over_pairs(lambda i, j: norm(self._d(self._x_t[i, j]))),
            "discriminator_class": sum(self._class(x[i], i) for i in each),
            "discriminator_class_synthetic": sum(self._class(x_g[i], i) for i in each),
            "code_discriminator": sum(norm(fd(self._code[i]), 1) for i in each) + norm(fd(self._code_g)),
            "translation_adversarial": over_pairs(lambda i, j: norm(self._d(self._x_t[i, j]), 1)),
            "translation_class": over_pairs(lambda i, j: self._class(self._x_t[i, j], j)),
            "reconstruction": sum(norm(x[i], self._decode(self._code[i], i)) for i in each),
            "cycle": over_pairs(lambda i, j: norm(x[i], self._x_cr[j, i])),
            "cycle_consistency": triple_scale * sum(norm(self._x_cr[j, i], self._x_cr[k, i]) for i, j, k in triples),
            "code_consistency": over_pairs(lambda i, j: norm(self._code[i], self._code_t[i, j])),
            "lesion_supervised": sum(self._lesion(self._labels[i], x[i], i) for i in each),
            "adversarial": sum(norm(self._d(x_g[i]), 1) for i in each),
            "adversarial_class": sum(self._class(x_g[i], i) for i in each),
            "code_adversarial": norm(fd(self._code_g), 1) + sum(norm(fd(self._code[i])) for i in each),
            "structure": sum(self._structure(x_g[i]) for i in each),
            "lesion": sum(self._lesion(self._l, x_g[i], i) for i in each),
            "translation": over_pairs(lambda i, j: norm(x_g[j], self._decode(code_of_x_g[i], j))),
            "code": sum(norm(self._code_g, code_of_x_g[i]) for i in each),
            "code_pairs": sum(norm(code_of_x_g[i], code_of_x_g[j]) for i, j in itertools.permutations(each, 2)),
            "background": sum(norm(x_g[i] * self._m) for i in each),
            "self_reconstruction": sum(norm(x[i], self._decode(self._own_code(i), i)) for i in each),
            "self_reconstruction_lesion": sum(
                norm(
                    (self._labels[i].numpy() > 0) * x[i],
                    (self._labels[i].numpy() > 0) * self._decode(self._own_code(i), i),
                )
                for i in each
            ),
        }

    def _decode(self, code: tf.Tensor, modality: int) -> tf.Tensor:
        condition = np.zeros((1, self._n), np.float32)
        condition[0, modality] = 1
        return self._model.decoder([code, tf.constant(condition)])

    def _d(self, image: tf.Tensor) -> tf.Tensor:
        return self._model.discriminator(image)[0]

    def _class(self, image: tf.Tensor, modality: int) -> float:
        scores = self._model.discriminator(image)[1].numpy().astype(np.float64)
        if not self._model.config.softmax_class:
            return norm(scores, modality)
        scores = scores.mean(axis=(0, 1, 2))
        return float(-np.log(np.exp(scores[modality]) / np.exp(scores).sum()))

    def _one_hot(self, label: tf.Tensor) -> np.ndarray:
        return np.concatenate([label.numpy() == c for c in range(self._classes)], axis=-1).astype(np.float32)

    def _own_code(self, i: int) -> tf.Tensor:
        """EC_R of the map and label of x_i itself."""
        f, m = (self._row[name][:, i] for name in ("own_structure", "own_background"))
        return self._model.fusion_encoder(self._fused(f, m, self._labels[i]))

    def _fused(self, f: tf.Tensor, m: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        """Method §5: channel c is w_f f + w_l [l = c]."""
        config = self._model.config
        f = f.numpy()
        if config.fusion_noise:
            f = f + (0.5 + 0.1 * self._row["noise"].numpy()) * (1 - m.numpy()) * (1 - f)
        one_hot = self._one_hot(label)
        if config.fusion_concatenate:
            return tf.constant(np.concatenate([f, one_hot], axis=-1))
        return tf.constant(config.fusion_structure * f + config.fusion_label * one_hot)

    def _lesion(self, label: tf.Tensor, image: tf.Tensor, modality: int) -> float:
        probabilities = self._model.lesion_processor.segment(image, modality).numpy()
        squared = (self._one_hot(label) - probabilities) ** 2
        weighted = [w * squared[..., c] for c, w in enumerate(self._model.config.class_weights)]
        return float(np.mean(weighted))

    def _structure(self, image: tf.Tensor) -> float:
        """‖f - f_g,i‖² outside the chosen lesion, whose edges f does not have."""
        outside = (self._l.numpy() == 0).astype(np.float32)
        f_g = structure.soft_structure_map(image, self._model.structure_map_config, self._m)
        return norm(outside * self._f.numpy(), outside * f_g.numpy())
