"""The page without JavaScript, in print, in dark colors, for a screen reader, and with hostile names."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from report.browser import Opened
from report.conftest import SCRIPT

OpenPage = Callable[..., Opened]
WIDTHS = (1280, 390)
DARK, LIGHT = "rgb(17, 22, 28)", "rgb(255, 255, 255)"


def background(page: Any) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


def test_without_javascript_the_page_is_whole_and_has_no_dead_control(open_page: OpenPage) -> None:
    page = open_page(java_script_enabled=False).page
    assert (
        page.locator("main tbody tr:not(.group)").count() == page.locator("main tbody tr:not(.group):visible").count()
    )
    assert page.locator("figure img:visible").count() == page.locator("figure img").count() == 8
    assert page.locator("button:visible, input:visible, [role=tooltip]:visible, dialog:visible").count() == 0
    page.locator("nav a", has_text="Training").click()
    assert page.url.endswith("#training")


def test_print_is_light_and_has_no_controls(open_page: OpenPage) -> None:
    # As wide as A4 between its margins.
    page = open_page(720, color_scheme="dark").page
    page.emulate_media(media="print", color_scheme="dark")
    assert background(page) == LIGHT
    assert page.locator("#theme:visible, nav:visible, #tools:visible, .enlarge:visible").count() == 0
    assert page.locator("figure img:visible").count() == 8 and page.locator(".ranking:visible").count() >= 1
    widths = page.locator("table").evaluate_all("tables => tables.map(table => table.getBoundingClientRect().right)")
    assert widths and max(widths) <= 720


def test_colors_follow_the_system_until_the_reader_chooses(open_page: OpenPage) -> None:
    page = open_page(color_scheme="dark").page
    assert background(page) == DARK
    switch = page.get_by_role("button", name="Light colors")
    switch.focus()
    page.keyboard.press("Enter")
    assert background(page) == LIGHT and page.get_by_role("button", name="Dark colors").is_visible()
    page.reload()
    assert background(page) == LIGHT
    page.get_by_role("button", name="Dark colors").click()
    assert background(page) == DARK


def test_colors_are_chosen_where_nothing_may_be_stored(open_page: OpenPage) -> None:
    opened = open_page(color_scheme="light")
    opened.context.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('no'); } });"
    )
    opened.page.reload()
    opened.page.get_by_role("button", name="Dark colors").click()
    assert background(opened.page) == DARK


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_lie_on_a_light_plate(open_page: OpenPage, scheme: str) -> None:
    page = open_page(color_scheme=scheme).page
    plates = page.locator(".plate").evaluate_all(
        "plates => plates.map(plate => getComputedStyle(plate).backgroundColor)"
    )
    assert plates and all(min(map(int, plate[4:-1].split(","))) > 200 for plate in plates)


def test_the_keyboard_meets_the_page_in_its_order(open_page: OpenPage) -> None:
    page = open_page().page
    met = []
    for _ in range(16):
        page.keyboard.press("Tab")
        met.append(
            page.evaluate("(e => e.id || e.className || e.getAttribute('href') || e.innerText)(document.activeElement)")
        )
    links = page.locator("nav a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    found = ["skip", "theme", "https://arxiv.org/abs/2504.03782", "Contents", *links]
    assert met[: len(found)] == found
    assert met[len(found) : len(found) + 3] == ["Filter and choose", "filter", "Choose runs"]


def test_the_skip_link_leads_to_the_results(open_page: OpenPage) -> None:
    page = open_page().page
    page.keyboard.press("Tab")
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main .ranking') !== null")


def test_a_link_of_the_ranking_leads_to_how_a_run_was_made(open_page: OpenPage) -> None:
    page = open_page().page
    page.locator(".ranking").first.locator(".seeds a").first.click()
    assert page.url.endswith("#run-digits-tiny-trades-script-alert-1-seed-0")
    assert page.locator("#run-digits-tiny-trades-script-alert-1-seed-0").bounding_box()["y"] < 900


def test_a_name_that_is_a_script_is_a_name(open_page: OpenPage) -> None:
    # A dialog would be told of when the page is closed.
    page = open_page().page
    assert page.locator("th", has_text=SCRIPT).count() >= 2 and page.locator("script").count() == 1
    page.locator("#filter").fill(SCRIPT)
    page.locator("#choice summary").click()
    page.locator(".ranking td[data-v]:visible").first.hover()
    page.locator("#tip").wait_for(state="visible")
    assert SCRIPT in page.locator("#tip").inner_text() and page.locator("script").count() == 1


def test_no_other_script_runs(open_page: OpenPage) -> None:
    opened = open_page()
    opened.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x alt=x onerror=alert(1)>')")
    opened.page.wait_for_timeout(100)
    refused = [text for text in opened.said if "Content Security Policy" in text]
    assert refused and not any(text == "1" for text in opened.said)
    opened.said.clear()
    opened.asked.clear()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_screen_reader_is_told_what_everything_is(open_page: OpenPage, width: int) -> None:
    page = open_page(width).page
    ids = page.locator("[id]").evaluate_all("elements => elements.map(element => element.id)")
    assert len(ids) == len(set(ids))
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    assert page.locator("th:not([scope])").count() == 0
    # Whatever is operated has a name that is read.
    unnamed = page.locator("button, a, summary, input").evaluate_all(
        "all => all.filter(e => !(e.textContent || e.ariaLabel || e.labels?.[0]?.textContent || '').trim())"
        ".map(e => e.outerHTML)"
    )
    assert unnamed == []
    assert page.locator("main").count() == page.locator("nav").count() == page.locator("body > header").count() == 1
    assert page.locator("nav:not([aria-label]), [role=group]:not([aria-label])").count() == 0
    # Sorting is told where there is any, and what it holds for is a button.
    assert page.locator("thead th:not(.chart)").count() == page.locator("thead th:not(.chart) > button").count()
    levels = page.locator("h1, h2, h3, h4").evaluate_all(
        "heads => heads.filter(head => !head.closest('dialog')).map(head => Number(head.tagName[1]))"
    )
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(then <= now + 1 for now, then in pairwise(levels))
    assert page.evaluate("document.documentElement.lang") == "en"
    # What hides from sight alone stays small enough to be pressed: 24 pixels (WCAG 2.2, 2.5.8).
    small = page.locator("header button, #tools button, .enlarge").evaluate_all(
        "all => all.filter(e => e.offsetParent && e.getBoundingClientRect().height < 24).map(e => e.outerHTML)"
    )
    assert small == []
