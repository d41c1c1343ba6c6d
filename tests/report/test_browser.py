"""The page in a browser, by mouse and by keyboard: Debian's chromium, driven by Playwright."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from report.browser import Opened

WIDTHS = (1280, 390)


def accuracies(page: Any) -> Any:
    return page.locator("#results .block", has_text="accuracy under the demo suite").locator("table")


def rows(table: Any) -> list[str]:
    """Method and seed of the rows that are shown, without letters of footnotes."""
    heads = table.locator("tbody tr:visible:not(.group) th[scope=row]")
    texts = heads.evaluate_all("""heads => heads.map(
        head => [...head.childNodes].filter(part => part.tagName !== "SUP").map(part => part.textContent).join("")
    )""")
    return [" ".join(text.split()) for text in texts]


def column(table: Any, place: int) -> list[str]:
    cells = table.locator(f"tbody tr:visible:not(.group) > :nth-child({place})").all_inner_texts()
    return [cell.split("\n")[0].strip() for cell in cells]


def tab_to(page: Any, selector: str, limit: int = 80) -> None:
    for _ in range(limit):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} is not reached by Tab")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(open_page: Callable[..., Opened], width: int, scheme: str) -> None:
    page = open_page(width, color_scheme=scheme).page
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # Whatever is wider than the window lies in something that scrolls.
    escaped = page.evaluate("""() => [...document.querySelectorAll("main *, header *, footer *")].filter(element => {
        const box = element.getBoundingClientRect();
        return box.width && box.right > innerWidth + 1 && !element.closest(".scroll, .aside");
    }).map(element => element.outerHTML.slice(0, 80))""")
    assert escaped == []


@pytest.mark.parametrize("width", WIDTHS)
def test_the_ranking_is_on_the_first_screen(open_page: Callable[..., Opened], width: int) -> None:
    page = open_page(width).page
    table = page.locator(".ranking").first
    first = table.locator("tbody tr.run").first.bounding_box()
    assert first is not None and first["y"] + first["height"] < page.viewport_size["height"]
    # Method, clean and robust accuracy are seen without scrolling to the side.
    robust = table.locator("tbody tr.run td[data-v]").nth(1).bounding_box()
    assert robust is not None and robust["x"] + robust["width"] <= width


def test_figures_stay_legible_on_a_narrow_screen(open_page: Callable[..., Opened]) -> None:
    page = open_page(390).page
    widths = page.locator("figure img").evaluate_all("images => images.map(image => image.clientWidth)")
    assert widths and min(widths) >= 600
    assert page.locator("figure .scroll").first.get_attribute("tabindex") == "0"


def test_first_columns_stay_when_a_table_scrolls(open_page: Callable[..., Opened]) -> None:
    page = open_page(390).page
    region = page.locator("#results .scroll").first
    region.evaluate("region => { region.scrollLeft = 200; }")
    head, edge = (place.bounding_box() for place in (region.locator("tbody th").first, region))
    assert region.evaluate("region => region.scrollLeft") > 0
    assert head is not None and edge is not None and abs(head["x"] - edge["x"]) < 2


def test_columns_are_sorted_by_keyboard(open_page: Callable[..., Opened]) -> None:
    page = open_page().page
    table = accuracies(page)
    before = rows(table)
    head = table.locator("thead th").nth(2)
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    values = [float(text) for text in column(table, 3)]
    assert head.get_attribute("aria-sort") == "descending" and values == sorted(values, reverse=True)
    page.keyboard.press("Space")
    values = [float(text) for text in column(table, 3)]
    assert head.get_attribute("aria-sort") == "ascending" and values == sorted(values)
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") is None and rows(table) == before


def test_methods_are_sorted_by_name_and_missing_numbers_come_last(open_page: Callable[..., Opened]) -> None:
    page = open_page().page
    table = accuracies(page)
    table.locator("thead button").first.click()
    names = [row.split(" ")[0] for row in rows(table)]
    assert names == sorted(names, key=str.casefold)
    page.evaluate("""() => {
        for (const row of document.querySelectorAll("#results tbody tr:first-child")) row.cells[1].replaceChildren("–");
    }""")
    for order in ("descending", "ascending"):
        table.locator("thead button").nth(1).click()
        assert table.locator("thead th").nth(1).get_attribute("aria-sort") == order
        assert column(table, 2)[-1] == "–"


def test_rows_of_other_images_or_attacks_are_never_sorted_among_each_other(open_page: Callable[..., Opened]) -> None:
    page = open_page().page
    table = page.locator(".ranking").first
    groups = "bodies => bodies.map(body => [...body.rows].map(row => row.cells[1]?.innerText.split('\\n')[0]))"
    before = table.locator("tbody").evaluate_all(groups)
    assert len(before) == 2
    table.locator("thead button", has_text="Clean").click()
    after = table.locator("tbody").evaluate_all(groups)
    assert [sorted(map(str, names)) for names in after] == [sorted(map(str, names)) for names in before]


def test_the_filter_narrows_all_tables_and_is_kept_in_the_address(open_page: Callable[..., Opened]) -> None:
    page = open_page().page
    tab_to(page, "#filter")
    page.keyboard.type("adv tiny")
    assert {row.split(" ")[0] for row in rows(accuracies(page))} == {"Adv-DPNP"}
    assert page.locator("#count").inner_text() == "1 of 5 runs shown"
    assert "q=adv+tiny" in page.url
    page.reload()
    assert page.locator("#filter").input_value() == "adv tiny"
    assert {row.split(" ")[0] for row in rows(accuracies(page))} == {"Adv-DPNP"}
    # An anchor keeps what was chosen.
    page.locator("nav a", has_text="Geometry").click()
    page.wait_for_url("**#geometry?q=adv+tiny")
    page.locator("#filter").fill("nothing like this")
    assert page.get_by_text("No row is left").first.is_visible() and not accuracies(page).is_visible()


def test_runs_are_chosen_by_keyboard_and_kept_in_the_address(open_page: Callable[..., Opened]) -> None:
    page = open_page().page
    tab_to(page, "#choice summary")
    page.keyboard.press("Enter")
    tab_to(page, "#runs input")
    assert page.evaluate("document.activeElement.labels[0].innerText").startswith("ST, seed 0")
    page.keyboard.press("Space")
    assert not any(row.startswith("ST ") for row in rows(accuracies(page)) + rows(page.locator(".ranking").first))
    page.reload()
    assert not any(row.startswith("ST ") for row in rows(accuracies(page)))
    # The mean stays until all of its seeds are hidden.
    boxes = page.locator("#runs input")
    page.locator("#choice summary").click()
    boxes.nth(1).uncheck()
    assert sum(row.startswith("AT ") for row in rows(accuracies(page))) == 2
    boxes.nth(2).uncheck()
    assert not any(row.startswith("AT ") for row in rows(accuracies(page)))
    page.locator("#all").click()
    assert any(row.startswith("ST ") for row in rows(accuracies(page))) and "hide" not in page.url


def test_single_seeds_give_way_to_their_mean(open_page: Callable[..., Opened]) -> None:
    page = open_page().page
    page.locator("#seeds").uncheck()
    at = [row for row in rows(accuracies(page)) if row.startswith("AT ")]
    assert at == ["AT mean of 2 seeds, min to max"]
    assert any(row.startswith("ST seed 0") for row in rows(accuracies(page)))


def test_accuracies_in_percent_of_clean(open_page: Callable[..., Opened]) -> None:
    page = open_page().page
    row = accuracies(page).locator("tbody tr", has_text=re.compile("^ST"))
    tab_to(page, "#share")
    page.keyboard.press("Space")
    # 0.3 of 0.99.
    assert row.locator(".n").nth(1).inner_text() == "30.3" and row.locator(".n").first.inner_text() == "99.0"
    assert page.get_by_text("in percent of the clean accuracy of their row").first.is_visible()
    assert "share=yes" in page.url
    page.keyboard.press("Space")
    assert row.locator(".n").nth(1).inner_text() == "30.0" and "share" not in page.url
    assert not page.get_by_text("in percent of the clean accuracy of their row").first.is_visible()


def test_cells_are_told_by_keyboard(open_page: Callable[..., Opened]) -> None:
    page = open_page().page
    tip = page.locator("#tip")
    accuracies(page).locator("thead button").last.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    cell = page.locator(":focus")
    assert cell.get_attribute("aria-describedby") == "tip" and tip.is_visible()
    said = tip.inner_text()
    assert said.startswith("ST, seed 0, default recipe, last checkpoint\nFGSM ℓ∞ 0.1: 30.0\n95 % interval: ")
    assert "FGSM: ℓ∞, ε = 0.1, starts at the image" in said and "144 training images held out" in said
    page.keyboard.press("ArrowDown")
    assert tip.inner_text().startswith("AT, seed 0")
    page.keyboard.press("Escape")
    assert not tip.is_visible() and page.locator(":focus").get_attribute("aria-describedby") is None
    # One stop in each table: the next Tab leaves it.
    page.keyboard.press("Tab")
    assert not page.evaluate("document.activeElement.closest('table')")


def test_heads_and_cells_are_told_by_the_mouse(open_page: Callable[..., Opened]) -> None:
    page = open_page().page
    tip = page.locator("#tip")
    accuracies(page).locator("thead button").nth(3).hover()
    tip.wait_for(state="visible")
    assert "PGD-40: ℓ∞, ε = 0.1" in tip.inner_text()
    # The pointer may go onto what is told; elsewhere it disappears.
    tip.hover()
    page.wait_for_timeout(300)
    assert tip.is_visible()
    page.mouse.move(5, 5)
    tip.wait_for(state="hidden")


@pytest.mark.parametrize("width", WIDTHS)
def test_figures_are_enlarged_by_keyboard(open_page: Callable[..., Opened], width: int) -> None:
    page = open_page(width).page
    button = page.locator(".enlarge").first
    button.focus()
    page.keyboard.press("Enter")
    image, dialog = page.locator("#zoomed img"), page.get_by_role("dialog")
    image.evaluate("image => image.decode()")
    page.wait_for_function("document.querySelector('#zoomed img').style.width")
    assert dialog.is_visible() and dialog.get_by_role("heading").inner_text()
    before = image.bounding_box()
    page.keyboard.press("+")
    page.keyboard.press("+")
    larger = image.bounding_box()
    assert before is not None and larger is not None and larger["width"] > 1.5 * before["width"]
    left = page.locator("#zoomed").evaluate("field => field.scrollLeft")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("left => document.querySelector('#zoomed').scrollLeft > left", arg=left)
    page.keyboard.press("0")
    fitted = image.bounding_box()
    assert fitted is not None and fitted["width"] <= width
    page.keyboard.press("Escape")
    assert not dialog.is_visible() and button.evaluate("button => button === document.activeElement")


def test_figures_are_enlarged_by_the_mouse(open_page: Callable[..., Opened]) -> None:
    page = open_page().page
    page.locator("figure img").first.click()
    image = page.locator("#zoomed img")
    page.wait_for_function("document.querySelector('#zoomed img').style.width")
    before = image.bounding_box()
    page.mouse.move(600, 500)
    page.mouse.wheel(0, -300)
    page.wait_for_function("width => document.querySelector('#zoomed img').clientWidth > width", arg=before["width"])
    page.mouse.down()
    page.mouse.move(500, 450)
    page.mouse.up()
    page.get_by_role("button", name="Close").click()
    assert not page.get_by_role("dialog").is_visible()
