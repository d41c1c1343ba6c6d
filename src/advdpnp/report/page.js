"use strict";
// Sorts, filters and chooses rows, tells what a cell is, enlarges figures. Without it the page is whole all the same.
(() => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (tag, text = "", attributes = {}) => {
    const element = Object.assign(document.createElement(tag), { textContent: text });
    Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
    return element;
  };
  const tables = all(".scroll > table");
  const root = document.documentElement;

  // What the reader has chosen lives in the address, behind the anchor: #results?q=trades&hide=...
  const runs = all(".origin").map((entry) => ({ name: entry.dataset.name, chosen: true }));
  const state = { query: "", seeds: true, share: false };

  const readAddress = () => {
    const [anchor, words = ""] = location.hash.slice(1).split(/\?(.*)/s);
    const given = new URLSearchParams(words);
    const hidden = new Set(given.getAll("hide"));
    state.query = given.get("q") ?? "";
    state.seeds = given.get("seeds") !== "no";
    state.share = given.has("share");
    runs.forEach((run) => { run.chosen = !hidden.has(run.name); });
    return anchor;
  };

  const writeAddress = (anchor = location.hash.slice(1).split("?")[0]) => {
    const words = new URLSearchParams();
    if (state.query) words.set("q", state.query);
    if (!state.seeds) words.set("seeds", "no");
    if (state.share) words.set("share", "yes");
    runs.filter((run) => !run.chosen).forEach((run) => words.append("hide", run.name));
    const address = `#${anchor}${words.size ? `?${words}` : ""}`;
    if (address !== (location.hash || "#")) {
      try { history.replaceState(null, "", address); } catch { location.hash = address; }
    }
  };

  const goTo = (anchor) => {
    const target = anchor && document.getElementById(anchor);
    if (!target) return;
    for (let outer = target; outer; outer = outer.parentElement) if (outer.tagName === "DETAILS") outer.open = true;
    target.scrollIntoView();
  };

  // Which rows and figures are shown.
  const matches = (text) => {
    const found = text.toLowerCase();
    return state.query.toLowerCase().split(/\s+/).every((word) => found.includes(word));
  };
  const shown = (run) => run.chosen && matches(run.name);
  const ofRuns = (element) => (element.dataset.runs ?? "").split(" ").filter(Boolean).map((position) => runs[position]);

  const showRows = () => {
    for (const table of tables) {
      const rows = all("tbody tr:not(.group)", table);
      const averaged = new Set(rows.filter((row) => row.matches(".mean")).flatMap(ofRuns));
      for (const row of rows) {
        const members = ofRuns(row);
        const found = members.length ? members.some(shown) : matches(row.textContent);
        const single = !state.seeds && row.matches(".run") && members.some((run) => averaged.has(run));
        row.classList.toggle("filtered", !found || single);
      }
      for (const group of all("tbody", table)) {
        const left = all("tr:not(.group):not(.filtered)", group).length;
        all(".group", group).forEach((row) => row.classList.toggle("filtered", !left));
      }
      const rest = rows.some((row) => !row.matches(".filtered"));
      table.classList.toggle("filtered", !rest);
      one(".none-left", table.parentElement).hidden = rest;
      giveTabStop(table);
    }
    all("figure[data-runs]").forEach((figure) => figure.classList.toggle("filtered", !ofRuns(figure).some(shown)));
    all(".origin").forEach((entry, position) => entry.classList.toggle("filtered", !shown(runs[position])));
    const count = runs.filter(shown).length;
    one("#count").textContent = count < runs.length ? `${count} of ${runs.length} runs shown` : `${count} runs`;
  };

  const showShares = () => {
    root.classList.toggle("share", state.share);
    for (const row of all("table[data-share] tbody tr")) {
      const [clean, ...others] = all("td[data-v]", row);
      for (const cell of others) {
        const number = one(".n", cell);
        number.dataset.accuracy ??= number.textContent;
        const share = (100 * cell.dataset.v) / clean.dataset.v;
        number.textContent = !state.share ? number.dataset.accuracy : Number.isFinite(share) ? share.toFixed(1) : "–";
      }
    }
  };

  const boxes = runs.map((run) => {
    const box = make("input", "", { type: "checkbox" });
    const line = make("li"), label = make("label");
    label.append(box, run.name);
    line.append(label);
    one("#runs").append(line);
    box.addEventListener("change", () => { run.chosen = box.checked; show(); });
    return box;
  });

  const show = () => {
    showRows();
    showShares();
    one("#filter").value = state.query;
    one("#seeds").checked = state.seeds;
    one("#share").checked = state.share;
    boxes.forEach((box, position) => {
      box.checked = runs[position].chosen;
      box.closest("li").classList.toggle("filtered", !matches(runs[position].name));
    });
    writeAddress();
  };

  // Sorting: highest first, lowest first, as it was. Rows that are ranked apart stay apart.
  const textOf = (cell) => {
    const first = [...cell.childNodes].find((node) => node.textContent.trim() && !node.matches?.(".dot"));
    return first ? first.textContent.trim() : "";
  };
  const numberOf = (text) => {
    const found = text.replace(/−/g, "-").replace(/(\d),(?=\d{3})/g, "$1").match(/^[≥≤<>]?\s*([+-]?[\d.]+(e[+-]?\d+)?)/i);
    return found ? Number(found[1]) : NaN;
  };

  const sortBy = (table, head, direction) => {
    const place = head.cellIndex;
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.matches(".group"));
      rows.forEach((row, position) => { row.dataset.place ??= position; });
      const texts = new Map(rows.map((row) => [row, row.cells[place] ? textOf(row.cells[place]) : ""]));
      const numeric = rows.some((row) => !Number.isNaN(numberOf(texts.get(row))));
      const known = (row) => (numeric ? !Number.isNaN(numberOf(texts.get(row))) : texts.get(row) !== "–");
      const compare = (a, b) => (numeric
        ? numberOf(texts.get(a)) - numberOf(texts.get(b))
        : texts.get(a).localeCompare(texts.get(b), "en", { numeric: true }));
      rows.sort((a, b) => a.dataset.place - b.dataset.place);
      if (direction) rows.sort((a, b) => known(b) - known(a) || (direction === "ascending" ? 1 : -1) * compare(a, b));
      body.append(...rows);
    }
  };

  const nextOrder = (table, head) => {
    const cells = all("tbody tr:not(.group)", table).map((row) => row.cells[head.cellIndex]);
    const numeric = cells.some((cell) => cell && !Number.isNaN(numberOf(textOf(cell))));
    // A rank is better when it is low.
    const orders = numeric && head.cellIndex ? ["descending", "ascending"] : ["ascending", "descending"];
    const now = orders.indexOf(head.getAttribute("aria-sort"));
    return now < 0 ? orders[0] : orders[now + 1];
  };

  const sortable = (table) => {
    for (const head of table.tHead.rows[0].cells) {
      if (head.matches(".chart")) continue;
      const button = make("button", "", { type: "button" });
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const order = nextOrder(table, head);
        all("th[aria-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
        if (order) head.setAttribute("aria-sort", order);
        sortBy(table, head, order);
        giveTabStop(table);
      });
    }
  };

  // Cells: one tab stop in each table, arrow keys from there; what a cell is stands in the tip.
  const visible = (table) => all("tbody tr:not(.filtered):not(.group)", table);
  const cellsOf = (row) => [...row.cells].filter((cell) => cell.offsetParent !== null && !cell.matches(".chart"));

  function giveTabStop(table) {
    all("[tabindex]", table).forEach((cell) => cell.removeAttribute("tabindex"));
    const [row] = visible(table);
    if (row) (one("td[data-v]", row) ?? row.cells[1] ?? row.cells[0]).tabIndex = 0;
  }

  const move = (event, cell) => {
    const row = cell.parentElement, rows = visible(cell.closest("table")), cells = cellsOf(row);
    const place = cells.indexOf(cell), line = rows.indexOf(row);
    const target = {
      ArrowLeft: () => cells[place - 1], ArrowRight: () => cells[place + 1], Home: () => cells[0], End: () => cells.at(-1),
      ArrowUp: () => rows[line - 1] && cellsOf(rows[line - 1])[place],
      ArrowDown: () => rows[line + 1] && cellsOf(rows[line + 1])[place],
    }[event.key];
    if (!target || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const next = target();
    if (!next) return;
    all("[tabindex]", cell.closest("table")).forEach((other) => other.removeAttribute("tabindex"));
    next.tabIndex = 0;
    next.focus();
  };

  const tip = one("#tip");
  let told = null;

  const notesOf = (cell) => {
    const list = one("ol.notes", cell.closest(".block"));
    const letters = all("sup", cell).concat(all("th > sup", cell.parentElement)).flatMap((sup) => sup.textContent.split(","));
    const position = (mark) => [...mark].reduce((sum, letter) => 26 * sum + letter.charCodeAt(0) - 96, 0) - 1;
    return list ? [...new Set(letters)].map((mark) => list.children[position(mark)]?.textContent).filter(Boolean) : [];
  };

  const linesOf = (cell) => {
    const table = cell.closest("table"), head = table.tHead.rows[0].cells[cell.cellIndex];
    const title = (element) => [...element.querySelectorAll("small")].map((small) => small.textContent);
    const name = one("button", head) ?? head;
    const column = [textOf(name), ...title(name)].join(" ");
    if (cell === head) return head.dataset.details ? [column, head.dataset.details] : [];
    const row = one("th[scope=row]", cell.parentElement);
    const small = one("small", cell)?.textContent ?? "";
    const spread = cell.parentElement.matches(".mean") ? "lowest and highest seed" : "95 % interval";
    const share = state.share && cell.querySelector("[data-accuracy]");
    const number = share ? `${share.dataset.accuracy}, ${textOf(cell)} % of clean` : textOf(cell);
    const lines = [`${textOf(row)}, ${title(row).join(", ")}`, `${column}: ${number}`];
    if (/^[\d.]+–[\d.]+$/.test(small)) lines.push(`${spread}: ${small.replace("–", " to ")}`);
    lines.push(...[cell.dataset.details ?? head.dataset.details].filter(Boolean), ...notesOf(cell));
    return lines;
  };

  const place = () => {
    if (!told) return;
    const at = told.getBoundingClientRect(), below = at.bottom + tip.offsetHeight + 4 < innerHeight;
    const left = Math.max(8, Math.min(at.left, root.clientWidth - tip.offsetWidth - 8));
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${(below ? at.bottom : at.top - tip.offsetHeight) + scrollY}px`;
  };

  const tell = (cell) => {
    hush();
    const lines = linesOf(cell);
    if (!lines.length) return;
    tip.replaceChildren(...lines.map((line) => make("div", line)));
    tip.hidden = false;
    told = cell;
    (one("thead button", cell) ?? cell).setAttribute("aria-describedby", "tip");
    place();
  };

  function hush() {
    if (!told) return;
    (one("button", told) ?? told).removeAttribute("aria-describedby");
    told = null;
    tip.hidden = true;
  }

  const cellAt = (node) => node.closest?.(".scroll > table > tbody > tr:not(.group) > *, .scroll > table > thead th");
  let waiting = 0;
  document.addEventListener("mouseover", (event) => {
    clearTimeout(waiting);
    const cell = cellAt(event.target);
    if (tip.contains(event.target) || (cell ?? cellAt(document.activeElement)) === told) return;
    waiting = setTimeout(() => (cell ? tell(cell) : hush()), 250);
  });
  document.addEventListener("focusin", (event) => {
    const cell = cellAt(event.target);
    if (cell) tell(cell);
    else hush();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hush();
    else if (event.target.matches("tbody td, tbody th")) move(event, event.target);
  });
  addEventListener("scroll", place, { capture: true, passive: true });

  // Figures in large.
  const zoom = one("#zoom"), field = one("#zoomed");
  const legible = 640;
  let opener = null, scale = 1;

  const fitting = (image) => Math.min(field.clientWidth, (field.clientHeight * image.naturalWidth) / image.naturalHeight);
  const resize = (next, x = field.clientWidth / 2, y = field.clientHeight / 2) => {
    const image = one("img", field), before = scale;
    scale = Math.max(0.25, Math.min(12, next));
    image.style.width = `${fitting(image) * scale}px`;
    image.style.margin = scale <= 1 ? "0 auto" : "0";
    field.scrollLeft = ((field.scrollLeft + x) * scale) / before - x;
    field.scrollTop = ((field.scrollTop + y) * scale) / before - y;
  };
  const enlarge = (button) => {
    const figure = button.closest("figure"), shownImage = one("img", figure);
    opener = button;
    one("#zoom-title").textContent = one("h3", figure).textContent;
    field.replaceChildren(make("img", "", { src: shownImage.src, alt: shownImage.alt, draggable: "false" }));
    zoom.showModal();
    field.focus();
    const image = one("img", field);
    // On a small screen letters would be too small in a figure that fits.
    image.decode().catch(() => {}).then(() => {
      scale = 1;
      resize(Math.max(1, legible / fitting(image)));
      field.scrollTo(0, 0);
    });
  };
  const keys = { "+": () => resize(scale * 1.25), "=": () => resize(scale * 1.25), "-": () => resize(scale / 1.25), 0: () => resize(1) };
  zoom.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  zoom.addEventListener("close", () => { field.replaceChildren(); opener?.focus(); });
  one("#larger").addEventListener("click", keys["+"]);
  one("#smaller").addEventListener("click", keys["-"]);
  one("#fit").addEventListener("click", keys[0]);
  one("#close").addEventListener("click", () => zoom.close());
  field.addEventListener("wheel", (event) => {
    event.preventDefault();
    const at = field.getBoundingClientRect();
    resize(scale * Math.exp(-event.deltaY / 500), event.clientX - at.left, event.clientY - at.top);
  }, { passive: false });
  field.addEventListener("pointermove", (event) => {
    if (event.buttons === 1 && event.pointerType === "mouse") field.scrollBy(-event.movementX, -event.movementY);
  });
  for (const button of all(".enlarge")) {
    button.hidden = false;
    button.addEventListener("click", () => enlarge(button));
    const image = one("img", button.closest("figure"));
    image.style.cursor = "zoom-in";
    image.addEventListener("click", () => enlarge(button));
  }

  // Colors: the system's, until the reader says otherwise.
  const theme = one("#theme"), dark = matchMedia("(prefers-color-scheme: dark)");
  const memory = (value) => {
    try {
      if (value) localStorage.setItem("advdpnp-theme", value);
      return localStorage.getItem("advdpnp-theme");
    } catch { return null; }
  };
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const nameTheme = () => { theme.textContent = isDark() ? "Light colors" : "Dark colors"; };
  const chosen = memory();
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  theme.hidden = false;
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    memory(root.dataset.theme);
    nameTheme();
  });
  dark.addEventListener("change", nameTheme);
  nameTheme();

  // Where the reader is: the last heading above the upper third of the window.
  const links = all("nav a");
  const follow = () => {
    const above = all("main > section").filter((part) => part.getBoundingClientRect().top < innerHeight / 3);
    const anchor = `#${above.at(-1)?.id}`;
    links.forEach((link) => (link.getAttribute("href") === anchor ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current")));
  };
  addEventListener("scroll", follow, { passive: true });
  const narrow = matchMedia("(max-width: 64rem)");
  const fold = () => all("#contents, #chooser").forEach((part) => { part.open = !narrow.matches; });
  narrow.addEventListener("change", fold);

  // A region that does not scroll is no tab stop.
  const stops = () => all(".scroll").forEach((region) => {
    if (region.scrollWidth > region.clientWidth + 1) region.tabIndex = 0;
    else region.removeAttribute("tabindex");
  });
  new ResizeObserver(stops).observe(one("main"));

  one("#tools").hidden = false;
  one("#filter").addEventListener("input", (event) => { state.query = event.target.value; show(); });
  one("#seeds").addEventListener("change", (event) => { state.seeds = event.target.checked; show(); });
  one("#share").addEventListener("change", (event) => { state.share = event.target.checked; show(); });
  for (const [name, value] of [["all", true], ["none", false]]) {
    one(`#${name}`).addEventListener("click", () => {
      runs.filter((run) => matches(run.name)).forEach((run) => { run.chosen = value; });
      show();
    });
  }
  addEventListener("hashchange", () => {
    if (location.hash.includes("?")) goTo(readAddress());
    else goTo(location.hash.slice(1));
    show();
  });
  for (const table of tables) {
    table.before(make("p", "No row is left: the filter or the choice of runs hides them all.", { class: "none-left note", hidden: "" }));
    sortable(table);
  }
  fold();
  const anchor = readAddress();
  show();
  stops();
  follow();
  if (anchor && location.hash.includes("?")) goTo(anchor);
})();
