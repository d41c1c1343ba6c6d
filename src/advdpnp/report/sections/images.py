"""Adversarial images."""

from __future__ import annotations

from advdpnp.attack_words import attack_name
from advdpnp.indices import image_count
from advdpnp.report.figures.images import IMAGES_PER_STRIP, amplification, attacked_images
from advdpnp.report.read import RunResults
from advdpnp.report.sections.section import Section, binding, file_name, lacking, picture


def images_section(runs: list[RunResults]) -> Section:
    pictures = []
    for run in runs:
        if run.samples is None:
            continue
        attack, factor = attack_name(run.samples.attack), amplification(run.samples)
        shown = min(len(run.samples.labels), IMAGES_PER_STRIP)
        wrong = int((run.samples.adversarial_predictions != run.samples.labels)[:shown].sum())
        title = f"{run.name} ({run.place})"
        alt = f"{image_count(shown)}, clean and under {attack}; {wrong} of the adversarial ones are misclassified."
        caption = (
            f"{attack}: {wrong} of {shown} adversarial images are misclassified. Below each image the predicted class, "
            f"✓ right or ✗ wrong. Perturbation × {factor}; gray is 0."
        )
        build = binding(attacked_images, run.samples)
        pictures.append(picture(file_name("images", run), title, alt, caption, build))
    text = "The same images for every run, each attacked anew. A few images illustrate; the tables measure."
    return Section("images", "Adversarial images", text, lacking(runs, lambda run: run.samples), pictures=pictures)
