"""The page in a browser: Debian's chromium, driven by Playwright."""

from collections.abc import Iterator

import pytest

from explaining.conftest import Told
from report.browser import Opener, browsers


@pytest.fixture(scope="module")
def browse() -> Iterator[Opener]:
    """Opens files in a browser, see `report.browser`."""
    yield from browsers()


# Contrast of two colors by WCAG 2: of the text of every element with the page behind it, the least.
CONTRAST = """() => {
  const light = color => {
    const parts = color.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255)
      .map(part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const page = light(getComputedStyle(document.body).backgroundColor);
  const texts = document.querySelectorAll("p, li, h1, h2, h3, td, th, figcaption, summary, a, svg text");
  const ratios = [...texts].map(found => {
    const style = getComputedStyle(found), ink = light(found instanceof SVGElement ? style.fill : style.color);
    return (Math.max(ink, page) + 0.05) / (Math.min(ink, page) + 0.05);
  });
  return Math.min(...ratios);
}"""


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_and_is_quiet_and_asks_for_nothing(browse: Opener, told: Told, width: int, scheme: str) -> None:
    opened = browse(told.folder / "index.html", width, color_scheme=scheme)
    page = opened.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert page.evaluate(CONTRAST) >= 4.5
    # By the keyboard alone: the numbers open.
    details = page.locator("details").first
    details.locator("summary").focus()
    page.keyboard.press("Enter")
    assert details.get_attribute("open") is not None
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.said == [] and opened.asked == []
    opened.close()
